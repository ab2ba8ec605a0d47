#include "kernels/cuda/graphs.h"

#include "core/error.h"

namespace engine::cuda {

namespace {

constexpr size_t most_graphs = 64;  // ragged batches bring ever new shapes

}  // namespace

StepGraphs::~StepGraphs() { clear(); }

void StepGraphs::clear() {
  for (const auto& [shapes, graph] : graphs_)
    if (graph.executable) cudaGraphExecDestroy(graph.executable);
  graphs_.clear();
}

Recording StepGraphs::recorded(Device& device, const std::function<void()>& work) {
  Recording recording;
  const RecordingScope scope(recording);
  device.set_capturing(true);
  try {
    work();
  } catch (...) {
    device.set_capturing(false);
    throw;
  }
  device.set_capturing(false);
  return recording;
}

cudaGraph_t StepGraphs::captured(Device& device, Recording& work) {
  cudaGraph_t graph = nullptr;
  check(cudaStreamBeginCapture(device.compute_stream(), cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  try {
    work.start();
  } catch (...) {
    if (cudaStreamEndCapture(device.compute_stream(), &graph) == cudaSuccess) cudaGraphDestroy(graph);
    cudaGetLastError();
    throw;
  }
  check(cudaStreamEndCapture(device.compute_stream(), &graph), "cudaStreamEndCapture");
  return graph;
}

void StepGraphs::make(Device& device, Graph& graph, Recording&& work) {
  const cudaGraph_t made = captured(device, work);
  cudaGraphExecUpdateResultInfo info{};
  if (graph.executable && cudaGraphExecUpdate(graph.executable, made, &info) != cudaSuccess) {
    cudaGetLastError();
    cudaGraphExecDestroy(graph.executable);
    graph.executable = nullptr;
  }
  const cudaError_t code = graph.executable ? cudaSuccess : cudaGraphInstantiate(&graph.executable, made, 0);
  cudaGraphDestroy(made);
  check(code, "cudaGraphInstantiate");
  graph.work = std::move(work);
}

void StepGraphs::run(Device& device, uint64_t shapes, const std::function<void()>& work) {
  if (device.is_capturing()) return work();
  const auto found = graphs_.find(shapes);
  if (found == graphs_.end()) {
    work();
    if (graphs_.size() >= most_graphs) clear();
    graphs_[shapes];
    return;
  }
  Graph& graph = found->second;
  Recording recording = recorded(device, work);
  if (!graph.executable || !recording.is_like(graph.work)) make(device, graph, std::move(recording));
  check(cudaGraphLaunch(graph.executable, device.compute_stream()), "cudaGraphLaunch");
}

}  // namespace engine::cuda
