// Captures work that repeats with the same shapes as a CUDA graph, and launches it as a whole, so that the device does
// not wait for the host to start its kernels one by one.
//
// The work of a run is recorded first. Where it is the same as the last time, to the last argument of a kernel, the
// graph that was captured then is launched again. So whatever changes from step to step (the learning rate, the
// dropout's counters) is read from the device's memory where a graph is to be launched again. Else the work is captured
// and the executable graph updated. Where kernels or their order have changed, a new executable graph is made.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <functional>
#include <map>

#include "core/cuda/device.h"
#include "core/cuda/recording.h"

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
  struct Graph {
    cudaGraphExec_t executable = nullptr;  // null after the first run
    Recording work;                        // that the executable was made of
  };
  static Recording recorded(Device& device, const std::function<void()>& work);
  static cudaGraph_t captured(Device& device, Recording& work);
  static void make(Device& device, Graph& graph, Recording&& work);
  void clear();

  std::map<uint64_t, Graph> graphs_;  // by their shapes
};

}  // namespace engine::cuda
