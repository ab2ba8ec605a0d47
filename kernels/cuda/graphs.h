// Work that comes again and again with the same shapes is captured as a CUDA graph and launched as a whole: the device
// does not wait for the host to start its kernels one by one.
//
// Work is captured anew each time, and the executable graph updated by it: parameters that change with the step (the
// learning rate, the dropout's counters) are then right. That costs the host what starting the kernels would, but ahead
// of the device. Where kernels or their order have changed the graph is made anew.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <functional>
#include <map>

#include "core/cuda/device.h"

namespace engine::cuda {

class StepGraphs {
 public:
  StepGraphs() = default;
  ~StepGraphs();
  StepGraphs(const StepGraphs&) = delete;
  StepGraphs& operator=(const StepGraphs&) = delete;

  // `shapes` stands for the shapes of all that `work` does: what runs with them for the first time is run as it is,
  // for scratch memory to be had and algorithms to be chosen. Errors are those of `work`.
  void run(Device& device, uint64_t shapes, const std::function<void()>& work);

 private:
  cudaGraph_t captured(Device& device, const std::function<void()>& work);
  void clear();

  std::map<uint64_t, cudaGraphExec_t> executables_;  // null: seen once
};

}  // namespace engine::cuda
