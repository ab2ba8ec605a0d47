// Streams of the simulated device are queues whose work is done as late as CUDA allows: when the host waits for a
// stream, or when work of another stream needs an event. So code that forgets to wait reads old values.
#pragma once

#include <cuda_runtime.h>

#include <chrono>
#include <deque>
#include <memory>
#include <string>
#include <vector>

namespace cudasim {

struct Task {
  std::function<std::string()> run;  // returns what went wrong, empty if nothing
  const void* kernel = nullptr;      // a kernel's address; one for copies, one for fills
};

// Appends the task to the stream, or to the graph that the stream is being captured into.
cudaError_t push(cudaStream_t stream, Task task);
// Does all work of the stream, or of every stream.
cudaError_t finish(cudaStream_t stream);
cudaError_t finish_all();
// Keeps `code` for cudaGetLastError, and returns it. cudaGetErrorString tells `what`, if anything.
cudaError_t failed(cudaError_t code, const std::string& what = "");
bool is_capturing();  // any stream

// Counts what the host did since the program began.
struct HostCounts {
  uint64_t idle_waits = 0;  // waits behind which the device had no work left
  uint64_t busy_waits = 0;  // waits for an event while the device had later work
  uint64_t captures = 0;    // of streams
  uint64_t launches = 0;    // of graphs
};
HostCounts& host_counts();
void invalidate_captures();

}  // namespace cudasim

struct CUgraph_st {
  std::vector<cudasim::Task> tasks;
  bool is_invalid = false;
};
struct CUgraphExec_st {
  std::shared_ptr<const std::vector<cudasim::Task>> tasks;
};
struct CUevent_st {
  uint64_t recorded = 0, completed = 0;
  bool is_timed = true;
  std::chrono::steady_clock::time_point reached;  // time of the last completion
  cudaStream_t stream = nullptr;
  const CUgraph_st* graph = nullptr;  // the graph of its recording, or null
};
struct CUstream_st {
  std::deque<cudasim::Task> queue;
  std::unique_ptr<CUgraph_st> capture;
};
