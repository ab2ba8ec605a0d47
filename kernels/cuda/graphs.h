// Captures work that repeats with the same shapes as a CUDA graph, and launches it as a whole, so that the device does
// not wait for the host to start its kernels one by one.
//
// The work of a run is recorded first. Where it is the same as the last time, to the last argument of a kernel, the
// graph that was captured then is launched again. So whatever changes from step to step (the learning rate, the
// dropout's counters) is read from the device's memory where a graph is to be launched again. Else the work is captured
// and the executable graph updated. Where kernels or their order have changed, a new executable graph is made.
//
// The host may have to do something between parts of the work (start_or_break), such as to start an exchange with other
// ranks. That is in no graph, and each part is a graph of its own then.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <functional>
#include <map>
#include <vector>

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
    std::vector<cudaGraphExec_t> executables;  // of the parts; null for one without work
    Recording work;                            // that the executables were made of
  };
  static Recording recorded(Device& device, const std::function<void()>& work);
  static cudaGraph_t captured(Device& device, Recording& work, size_t part);
  static void make(Device& device, Graph& graph, Recording& work);
  void clear();

  std::map<uint64_t, std::map<size_t, Graph>> graphs_;  // by their shapes, and the number of their parts
};

}  // namespace engine::cuda
