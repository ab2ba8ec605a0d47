// Captures work that repeats with the same shapes as a CUDA graph, and launches it as a whole, so that the device does
// not wait for the host to start its kernels one by one.
//
// Every run captures the work anew and updates the executable graph, so that parameters of the step (the learning rate,
// the dropout's counters) are right. Capturing costs the host as much as starting the kernels would, but ahead of the
// device. Where kernels or their order have changed, a new executable graph is made.
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

  // Runs `work`. `shapes` stands for the shapes of all that it does. Work with new shapes runs uncaptured the first
  // time, while it takes scratch memory and chooses algorithms. Errors are those of `work`.
  void run(Device& device, uint64_t shapes, const std::function<void()>& work);

 private:
  cudaGraph_t captured(Device& device, const std::function<void()>& work);
  void clear();

  std::map<uint64_t, cudaGraphExec_t> executables_;  // null after the first run
};

}  // namespace engine::cuda
