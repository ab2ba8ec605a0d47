// A CUDA device: its streams, its memory, and the check after every call of the runtime.
#pragma once

#include <cuda_runtime.h>

#include <memory>
#include <string>

#include "core/cuda/presence.h"
#include "core/memory.h"

namespace engine::cuda {

// Throws an Error "WHAT: the runtime's words (name of the code), on DEVICE" where `code` is not success. Where a kernel
// that was started before has failed, it also lists the operations that may have started it.
void check(cudaError_t code, const char* what);

// Holds a wrong index that a kernel has found in its data. The first fault of a step stays, and the host raises it as
// an Error when it next copies results. Kernels call report_fault (kernels/cuda/block.h).
struct alignas(16) Fault {  // written by one store
  int kind;   // a FaultKind, 0 for none
  int value;  // the index
  int limit;  // size of its table
  int place;  // its number among the operation's indices
};
// Lets kernels report a fault: the first to claim the report, in device memory, writes the fault, in the host's memory.
struct FaultReport {
  int* is_claimed;  // 0 or 1
  Fault* fault;     // mapped memory of the host
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
  rotary_position,
  segment,       // rows outside of attention's matrices
  mean_segment,  // rows outside of segment_mean's matrix
  loss_segment,  // rows outside of segment_cross_entropy's matrix
  soft_loss_segment,
  mask_segment,  // rows outside of span_mask_loss's matrix
  lstm_segment,  // rows outside of the gates of an LSTM
  gathered_row,
  added_from,
  added_to,
  scaled_from,
  scaled_to,
  scattered_row,
  ranked_token,
  empty_segment,  // for cuDNN
  logits,  // a row that cannot be drawn from
};

class Device {
 public:
  // Takes the GPU of this number. Throws an Error in one line where there is none, it is older than sm_80, the driver
  // is older than the runtime, or too little of its memory is free.
  explicit Device(int index = 0);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  cudaStream_t compute_stream() const { return compute_; }
  cudaStream_t copy_stream() const { return copy_; }
  Memory& memory();
  FaultReport fault() const { return {is_claimed_, fault_}; }
  int capability() const { return capability_; }  // 90 for sm_90
  const std::string& name() const { return name_; }
  int index() const { return index_; }
  // Tells it from all other GPUs of this machine, even where each process sees one as number 0.
  const std::string& identity() const { return identity_; }
  // Waits for all started work, and raises a fault that a kernel has found.
  void synchronize();
  // Marks that a step is being recorded, to be captured as a graph. Copies to or from the host are an Error then.
  void set_capturing(bool capturing) { is_capturing_ = capturing; }
  bool is_capturing() const { return is_capturing_; }

 private:
  cudaStream_t compute_ = nullptr, copy_ = nullptr;
  Fault* fault_ = nullptr;
  int* is_claimed_ = nullptr;
  const int index_;
  int capability_ = 0;
  std::string name_, identity_;
  bool is_capturing_ = false;
  std::unique_ptr<Memory> memory_;
};

}  // namespace engine::cuda
