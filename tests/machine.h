// A Machine with all that it refers to.
#pragma once

#include <memory>
#include <string>

#include "kernels/backend/backend.h"
#include "training/task.h"

namespace engine::test {

struct OwnMachine {
  std::unique_ptr<Ops> ops;
  Arena arena;
  Communicator ranks;
  Machine machine;

  // A capacity of 0 is the device's.
  explicit OwnMachine(DType compute = DType::f32, size_t capacity = 0, const std::string& device = "cpu")
      : ops(make_ops(device)), arena(ops->memory(), capacity), machine{*ops, arena, compute, ranks} {}
  OwnMachine(const OwnMachine&) = delete;
};

}  // namespace engine::test
