// Tells errors of a device which operation is being started, and which may still be running.
#pragma once

#include <array>
#include <initializer_list>
#include <string>

#include "core/tensor.h"

namespace engine::cuda {

// Marks the operation that this thread is starting, while it lives, with an NVTX range of its name.
class Operation {
 public:
  Operation(const char* name, std::initializer_list<Tensor> tensors);
  ~Operation();
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;

 private:
  friend std::string running_operation();
  friend const char* running_operation_name();
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
  friend size_t started_operation_count();
  friend void forget_started_operations(size_t count);
  Description description_;
  const Operation* outer_;
};

// Returns "layernorm_forward of [3, 5] f32, ...", and an empty text where no operation is running.
std::string running_operation();
// Returns "layernorm_forward", and "a kernel" where no operation is running.
const char* running_operation_name();
// Returns the last operations started since the device was last waited for, and the number of others. Empty if none.
std::string started_operations();
// Returns how many operations this thread has ever started.
size_t started_operation_count();
// Forgets all operations, or the first `count` that were ever started, since the device was waited for.
void forget_started_operations(size_t count = started_operation_count());

}  // namespace engine::cuda
