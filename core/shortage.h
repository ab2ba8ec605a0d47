// The error of a device that has no memory for a tensor of an arena. The arena adds which tensor it is.
#pragma once

#include <string>

#include "core/error.h"

namespace engine {

struct Shortage : Error {
  std::string place;  // "on DEVICE, for OPERATION"
  size_t free, total;
  Shortage(const std::string& place_, size_t free_, size_t total_)
      : Error("out of memory " + place_), place(place_), free(free_), total(total_) {}
};

}  // namespace engine
