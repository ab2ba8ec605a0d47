#include <doctest/doctest.h>
#include <unistd.h>

#include <limits>

#include "core/arena.h"
#include "core/files.h"
#include "tests/temporary.h"

namespace engine::test {

TEST_CASE("memory: a control group's limit is read, and none is no limit") {
  const TemporaryFolder folder;
  const std::string file = (folder.path() / "memory.max").string();
  constexpr size_t none = std::numeric_limits<size_t>::max();
  CHECK(detail::memory_limit(file.c_str()) == none);  // it is not there
  write_file(file, "max\n");
  CHECK(detail::memory_limit(file.c_str()) == none);
  write_file(file, "1073741824\n");
  CHECK(detail::memory_limit(file.c_str()) == size_t{1} << 30);
  const size_t capacity = host_memory().capacity();
  CHECK(capacity > 0);
  CHECK(capacity <= static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE)));
}

TEST_CASE("memory: an arena that is full says what was asked for and what there is") {
  Arena arena(host_memory(), size_t{4} << 20);
  const ArenaScope scope(arena);
  CHECK(arena.make(DType::f32, {(1 << 19) - 1}).bytes() == (size_t{2} << 20) - 4);
  CHECK_THROWS_WITH_AS(Arena(host_memory(), size_t{1} << 50),
                       doctest::Contains("no address space for 1073741824 MiB: is it limited (ulimit -v)?"), Error);
  CHECK_THROWS_WITH_AS(
      arena.make(DType::f32, {3, 1 << 18}),
      doctest::Contains("a tensor [3, 262144] of f32 needs 3 MiB, 2 MiB of 4 MiB are free: in training lower"), Error);
}

}  // namespace engine::test
