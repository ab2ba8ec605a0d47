#include "kernels/cuda/graphs.h"

#include "core/error.h"

namespace engine::cuda {

namespace {

constexpr size_t most_graphs = 64;  // ragged batches bring ever new shapes

}  // namespace

StepGraphs::~StepGraphs() { clear(); }

void StepGraphs::clear() {
  for (const auto& [shapes, executable] : executables_)
    if (executable) cudaGraphExecDestroy(executable);
  executables_.clear();
}

cudaGraph_t StepGraphs::captured(Device& device, const std::function<void()>& work) {
  cudaGraph_t graph = nullptr;
  check(cudaStreamBeginCapture(device.compute_stream(), cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  device.set_capturing(true);
  try {
    work();
  } catch (...) {
    device.set_capturing(false);
    if (cudaStreamEndCapture(device.compute_stream(), &graph) == cudaSuccess) cudaGraphDestroy(graph);
    cudaGetLastError();
    throw;
  }
  device.set_capturing(false);
  check(cudaStreamEndCapture(device.compute_stream(), &graph), "cudaStreamEndCapture");
  return graph;
}

void StepGraphs::run(Device& device, uint64_t shapes, const std::function<void()>& work) {
  if (device.is_capturing()) return work();
  const auto found = executables_.find(shapes);
  if (found == executables_.end()) {
    work();
    if (executables_.size() >= most_graphs) clear();
    executables_[shapes] = nullptr;
    return;
  }
  cudaGraphExec_t& executable = found->second;
  const cudaGraph_t graph = captured(device, work);
  cudaGraphExecUpdateResultInfo info{};
  if (executable && cudaGraphExecUpdate(executable, graph, &info) != cudaSuccess) {
    cudaGetLastError();
    cudaGraphExecDestroy(executable);
    executable = nullptr;
  }
  const cudaError_t made = executable ? cudaSuccess : cudaGraphInstantiate(&executable, graph, 0);
  cudaGraphDestroy(graph);
  check(made, "cudaGraphInstantiate");
  check(cudaGraphLaunch(executable, device.compute_stream()), "cudaGraphLaunch");
}

}  // namespace engine::cuda
