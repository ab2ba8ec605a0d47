// The text of an error that a piece of work gives.
#pragma once

#include <functional>
#include <string>

#include "core/error.h"

namespace engine::test {

// Returns nothing where there is none.
inline std::string error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace engine::test
