// A test that this machine or build cannot run says so: tests/run.sh counts it as skipped, not as passed.
#pragma once

#include <doctest/doctest.h>

#include <cstdio>

namespace engine::test {

// tests/run.sh reads this line.
inline void report_skipped(const char* reason) {
  std::printf("skipped: %s: %s\n", doctest::getContextOptions()->currentTest->m_name, reason);
  std::fflush(stdout);
}

// Leaves the test case.
#define SKIP_TEST(reason)                      \
  do {                                         \
    ::engine::test::report_skipped((reason));  \
    return;                                    \
  } while (false)

}  // namespace engine::test
