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

// A Transfer is work that another process takes part in. It may begin as soon as its stream comes to it and end long
// after, so its memory must not change in between.
struct Transfer {
  struct Piece {
    const char* data;
    size_t bytes;
  };
  std::string name;
  std::vector<Piece> pieces;
  bool has_begun = false;
  std::vector<std::string> contents;  // of the pieces when it began
};

struct Task {
  std::function<std::string()> run;  // returns what went wrong, empty if nothing
  const void* kernel = nullptr;      // a kernel's address; one for copies, one for fills
  cudaEvent_t waits_for = nullptr;   // the event, and which of its recordings
  uint64_t generation = 0;
  bool is_mark = false;              // records an event
  std::shared_ptr<Transfer> transfer;
};

// Tells of a transfer how much of another stream's work could be done at the same time: what was started behind the
// event that it waited for, before that stream waited for it.
struct Overlap {
  size_t bytes = 0, kernels = 0;
};
// Returns those that another stream has waited for, in order. The variable CUDASIM_TRANSFERS of the environment names a
// file to which a line "BYTES KERNELS" is added for each.
const std::vector<Overlap>& overlaps();

// Appends the task to the stream, or to the graph that the stream is being captured into. It runs so many kernels.
cudaError_t push(cudaStream_t stream, Task task, size_t kernels = 0);
// Does all work of the stream, or of every stream.
cudaError_t finish(cudaStream_t stream);
cudaError_t finish_all();
// Does work of the stream as long as there is any and `is_so` says so. Returns false where it fails, of which the next
// wait tells.
bool run_while(cudaStream_t stream, const std::function<bool()>& is_so);
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
  size_t kernels = 0;                 // that were started in its stream before it
};
struct CUstream_st {
  // A transfer that was started, and which work of another stream was started before what it waited for.
  struct Open {
    size_t bytes;
    cudaStream_t other;
    size_t kernels;
  };
  std::deque<cudasim::Task> queue;
  std::shared_ptr<cudasim::Transfer> running;  // a transfer that has left the queue
  size_t kernels = 0;                          // ever started here
  cudaStream_t waited_for = nullptr;           // the stream of the last event that was waited for
  size_t waited_kernels = 0;
  std::vector<Open> open;
  std::unique_ptr<CUgraph_st> capture;
};
