#pragma once

#include <cstdlib>

namespace engine::test {

// A variable of the environment has this value while it lives.
struct Variable {
  const char* name;
  Variable(const char* of, const char* value) : name(of) { setenv(name, value, 1); }
  ~Variable() { unsetenv(name); }
};

}  // namespace engine::test
