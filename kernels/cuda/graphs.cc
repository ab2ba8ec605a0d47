#include "kernels/cuda/graphs.h"

#include "core/error.h"

namespace engine::cuda {

namespace {

constexpr size_t most_graphs = 64;  // ragged batches bring ever new shapes

}  // namespace

StepGraphs::~StepGraphs() { clear(); }

void StepGraphs::clear() {
  for (const auto& [shapes, of_shapes] : graphs_)
    for (const auto& [parts, graph] : of_shapes)
      for (const cudaGraphExec_t executable : graph.executables)
        if (executable) cudaGraphExecDestroy(executable);
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

cudaGraph_t StepGraphs::captured(Device& device, Recording& work, size_t part) {
  cudaGraph_t graph = nullptr;
  check(cudaStreamBeginCapture(device.compute_stream(), cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  try {
    work.start(part);
  } catch (...) {
    if (cudaStreamEndCapture(device.compute_stream(), &graph) == cudaSuccess) cudaGraphDestroy(graph);
    cudaGetLastError();
    throw;
  }
  check(cudaStreamEndCapture(device.compute_stream(), &graph), "cudaStreamEndCapture");
  return graph;
}

void StepGraphs::make(Device& device, Graph& graph, Recording& work) {
  graph.work = {};
  graph.executables.resize(work.parts());
  for (size_t part = 0; part < work.parts(); ++part) {
    cudaGraphExec_t& executable = graph.executables[part];
    const cudaGraph_t made = work.is_empty(part) ? nullptr : captured(device, work, part);
    cudaGraphExecUpdateResultInfo info{};
    if (executable && (!made || cudaGraphExecUpdate(executable, made, &info) != cudaSuccess)) {
      cudaGetLastError();
      cudaGraphExecDestroy(executable);
      executable = nullptr;
    }
    if (!made) continue;
    const cudaError_t code = executable ? cudaSuccess : cudaGraphInstantiate(&executable, made, 0);
    cudaGraphDestroy(made);
    check(code, "cudaGraphInstantiate");
  }
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
  Recording recording = recorded(device, work);
  Graph& graph = found->second[recording.parts()];
  if (graph.executables.empty() || !recording.is_like(graph.work)) make(device, graph, recording);
  for (size_t part = 0; part < recording.parts(); ++part) {
    if (graph.executables[part])
      check(cudaGraphLaunch(graph.executables[part], device.compute_stream()), "cudaGraphLaunch");
    if (part + 1 < recording.parts()) recording.run_break(part);
  }
  recording.forget_calls();
  graph.work = std::move(recording);
}

}  // namespace engine::cuda
