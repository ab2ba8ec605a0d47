// Sets variables of the environment for some tests.
#pragma once

#include <cstdlib>

namespace engine::test {

// Gives a variable of the environment this value while it lives.
struct Variable {
  const char* name;
  Variable(const char* name_, const char* value) : name(name_) { setenv(name, value, 1); }
  ~Variable() { unsetenv(name); }
};

}  // namespace engine::test
