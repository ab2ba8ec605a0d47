// What errors of a device tell: the operation that is being started, and those that may still be under way.
#pragma once

#include <array>
#include <initializer_list>
#include <string>

#include "core/tensor.h"

namespace engine::cuda {

// The operation that this thread is starting, while it lives: an NVTX range of its name, and what an error tells.
class Operation {
 public:
  Operation(const char* name, std::initializer_list<Tensor> tensors);
  ~Operation();
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;

 private:
  friend std::string running_operation();
  struct Description {
    const char* name = "";
    std::array<Tensor, 8> tensors;
    size_t count = 0;
    std::string text() const;
  };
  struct Started;
  static thread_local const Operation* running;
  static thread_local Started started;

  friend std::string started_operations();
  friend void forget_started_operations();
  Description description_;
  const Operation* outer_;
};

// "layernorm_forward of [3, 5] f32, ..."; empty where none is running.
std::string running_operation();
// The last ones that were started since the device was waited for, and how many more; empty where there are none.
std::string started_operations();
// The device was waited for, and they are done.
void forget_started_operations();

}  // namespace engine::cuda
