// A CUDA device: its streams, its memory, and what is checked after every call of the runtime.
#pragma once

#include <cuda_runtime.h>

#include <memory>
#include <string>

#include "core/cuda/presence.h"
#include "core/memory.h"

namespace engine::cuda {

// Throws an Error "WHAT: the runtime's words (name of the code), on DEVICE" where `code` is not success; where a kernel
// that was started before has failed, with the operations that it may be of.
void check(cudaError_t code, const char* what);

// What a kernel finds wrong with its data (an index outside its table). The first fault of a step stays; it is raised
// as an Error when results are next copied to the host. Kernels report by report_fault (kernels/cuda/block.h).
struct Fault {
  int kind;   // FaultKind, 0: none
  int value;  // the index that was found
  int limit;  // what it had to be below
  int place;  // where: its number among the operation's indices
};
enum class FaultKind : int {
  none,
  token,
  position,
  type,
  token_gradient,
  position_gradient,
  type_gradient,
  label,
  segment,       // rows of attention outside of their matrix
  mean_segment,  // of segment_mean
  gathered_row,
  scattered_row,
  ranked_token,
  logits,  // of a row that cannot be drawn from
};

class Device {
 public:
  // An Error in one line where there is no GPU, it is older than sm_80, the driver is older than the runtime, or it has
  // too little memory free.
  Device();
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  cudaStream_t compute_stream() const { return compute_; }
  cudaStream_t copy_stream() const { return copy_; }
  Memory& memory();
  Fault* fault() const { return fault_; }  // written by kernels, in memory that host and device both see
  int multiprocessors() const { return multiprocessors_; }
  size_t shared_memory_per_block() const { return shared_memory_; }  // the most that a launch may ask for
  const std::string& name() const { return name_; }
  // Waits for all that was started, and raises what a kernel found wrong.
  void synchronize();
  // While a step is captured as a graph nothing may be copied to or from the host: that is an Error.
  void set_capturing(bool capturing) { is_capturing_ = capturing; }
  bool is_capturing() const { return is_capturing_; }

 private:
  cudaStream_t compute_ = nullptr, copy_ = nullptr;
  Fault* fault_ = nullptr;
  int multiprocessors_ = 0;
  size_t shared_memory_ = 0;
  std::string name_;
  bool is_capturing_ = false;
  std::unique_ptr<Memory> memory_;
};

}  // namespace engine::cuda
