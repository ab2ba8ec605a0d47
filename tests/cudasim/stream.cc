#include "tests/cudasim/stream.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "core/error.h"
#include "tests/cudasim/block.h"
#include "tests/cudasim/memory.h"
#include "tests/cudasim/monitor.h"

namespace cudasim {

namespace {

std::vector<cudaStream_t> streams;

bool exists(cudaStream_t stream) { return std::find(streams.begin(), streams.end(), stream) != streams.end(); }

std::string served_failure;  // of work that was done for another process

bool overlap(const Transfer& a, const Transfer& b) {
  for (const Transfer::Piece& one : a.pieces)
    for (const Transfer::Piece& other : b.pieces)
      if (one.data < other.data + other.bytes && other.data < one.data + one.bytes) return true;
  return false;
}

void begin(Transfer& transfer) {
  if (std::exchange(transfer.has_begun, true)) return;
  for (const auto& [data, bytes] : transfer.pieces) transfer.contents.emplace_back(data, bytes);
}

// Begins the transfers that a stream has come to, or could have come to where those before them are done at once.
void begin_transfers(cudaStream_t stream) {
  std::vector<const Transfer*> before;
  if (stream->running) before.push_back(stream->running.get());
  for (const Task& task : stream->queue) {
    if (task.waits_for && task.waits_for->completed < task.generation) return;
    if (task.waits_for || task.is_mark) continue;
    const auto is_in_the_way = [&](const Transfer* other) { return overlap(*task.transfer, *other); };
    if (!task.transfer || std::any_of(before.begin(), before.end(), is_in_the_way)) return;
    const OpenMemory open;
    begin(*task.transfer);
    before.push_back(task.transfer.get());
  }
}

std::string run_transfer(cudaStream_t stream, const Task& task) {
  Transfer& transfer = *task.transfer;
  begin(transfer);
  for (size_t i = 0; i < transfer.pieces.size(); ++i) {
    const auto& [data, bytes] = transfer.pieces[i];
    if (transfer.contents[i] != std::string_view(data, bytes))
      return transfer.name +
             ": its memory changed after it could begin: it was not complete, or is used again too early";
  }
  stream->running = task.transfer;
  std::string error = task.run();
  stream->running = nullptr;
  begin_transfers(stream);
  return error;
}

std::string run_next(cudaStream_t stream) {
  if (stream->queue.front().waits_for) {  // stays while it waits, in front of transfers that may not begin
    std::string error = stream->queue.front().run();
    if (error.empty()) stream->queue.pop_front();
    return error;
  }
  const Task task = std::move(stream->queue.front());
  stream->queue.pop_front();
  return task.transfer ? run_transfer(stream, task) : task.run();
}

std::vector<Overlap> all_overlaps;

// The stream waits for all transfers of another one.
void close_transfers(cudaStream_t stream, cudaStream_t other) {
  static const char* const path = std::getenv("CUDASIM_TRANSFERS");
  std::erase_if(other->open, [&](const CUstream_st::Open& open) {
    if (open.other != stream) return false;
    all_overlaps.push_back({open.bytes, stream->kernels - open.kernels});
    if (path) std::ofstream(path, std::ios::app) << open.bytes << ' ' << all_overlaps.back().kernels << '\n';
    return true;
  });
}

std::string run_until(cudaEvent_t event, uint64_t generation) {
  while (event->completed < generation && !event->stream->queue.empty())
    if (std::string error = run_next(event->stream); !error.empty()) return error;
  return event->completed < generation ? "an event that is waited for was never reached" : "";
}

// Drops the work behind a failed kernel.
cudaError_t abandon(const std::string& error) {
  for (const cudaStream_t stream : streams) stream->queue.clear();
  return failed(cudaErrorLaunchFailure, error);
}

// Counts a wait of the host, which comes to an idle device if no stream has work then.
void count_wait() {
  const bool is_idle = std::all_of(streams.begin(), streams.end(), [](cudaStream_t s) { return s->queue.empty(); });
  ++(is_idle ? host_counts().idle_waits : host_counts().busy_waits);
}

// Refuses a call that waits for the device while a stream is captured.
cudaError_t refuse_capture(const char* call) {
  invalidate_captures();
  return failed(cudaErrorStreamCaptureUnsupported, std::string(call) + " while a stream is being captured");
}

}  // namespace

HostCounts& host_counts() {
  static HostCounts counts;
  return counts;
}

const std::vector<Overlap>& overlaps() { return all_overlaps; }

bool is_capturing() {
  return std::any_of(streams.begin(), streams.end(), [](cudaStream_t s) { return s->capture != nullptr; });
}

void invalidate_captures() {
  for (const cudaStream_t stream : streams)
    if (stream->capture) stream->capture->is_invalid = true;
}

cudaError_t push(cudaStream_t stream, Task task, size_t kernels) {
  const Inside inside;
  if (!exists(stream)) return failed(cudaErrorInvalidResourceHandle, "no such stream (the default stream is not used)");
  if (stream->capture) {
    stream->capture->tasks.push_back(std::move(task));
    return cudaSuccess;
  }
  const Transfer* const transfer = task.transfer.get();
  stream->kernels += kernels;
  stream->queue.push_back(std::move(task));
  if (!transfer) return cudaSuccess;
  size_t bytes = 0;
  for (const Transfer::Piece& piece : transfer->pieces) bytes += piece.bytes;
  if (stream->waited_for) stream->open.push_back({bytes, stream->waited_for, stream->waited_kernels});
  begin_transfers(stream);
  return cudaSuccess;
}

bool run_while(cudaStream_t stream, const std::function<bool()>& is_so) {
  const Executor executor;
  const OpenMemory open;
  while (is_so() && !stream->queue.empty()) {
    served_failure = run_next(stream);
    if (served_failure.empty()) continue;
    for (const cudaStream_t each : streams) each->queue.clear();
    return false;
  }
  return true;
}

cudaError_t finish(cudaStream_t stream) {
  const Executor executor;
  if (!served_failure.empty()) return abandon(std::exchange(served_failure, ""));
  if (stream->queue.empty()) return cudaSuccess;
  const OpenMemory open;
  while (!stream->queue.empty())
    if (const std::string error = run_next(stream); !error.empty()) return abandon(error);
  return cudaSuccess;
}

cudaError_t finish_all() {
  for (const cudaStream_t stream : streams)
    if (const cudaError_t code = finish(stream)) return code;
  return cudaSuccess;
}

}  // namespace cudasim

using namespace cudasim;

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  const Inside inside;
  *stream = new CUstream_st;
  streams.push_back(*stream);
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const Inside inside;
  if (!exists(stream)) return failed(cudaErrorInvalidResourceHandle);
  const cudaError_t code = finish(stream);
  streams.erase(std::find(streams.begin(), streams.end(), stream));
  delete stream;
  return code;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const Inside inside;
  if (!exists(stream)) return failed(cudaErrorInvalidResourceHandle);
  if (is_capturing()) return refuse_capture("cudaStreamSynchronize");
  const cudaError_t code = finish(stream);
  count_wait();
  return code;
}

cudaError_t cudaDeviceSynchronize() {
  const Inside inside;
  if (is_capturing()) return refuse_capture("cudaDeviceSynchronize");
  const cudaError_t code = finish_all();
  count_wait();
  return code;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  *event = new CUevent_st;
  (*event)->is_timed = !(flags & cudaEventDisableTiming);
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const Inside inside;
  // Tasks that name the event may still wait. It goes once they are done.
  static std::vector<cudaEvent_t> destroyed;
  destroyed.push_back(event);
  if (has_executor() || std::any_of(streams.begin(), streams.end(), [](cudaStream_t s) { return !s->queue.empty(); }))
    return cudaSuccess;
  for (const cudaEvent_t each : destroyed) delete each;
  destroyed.clear();
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const Inside inside;
  if (!exists(stream)) return failed(cudaErrorInvalidResourceHandle);
  event->graph = stream->capture.get();
  if (event->graph) return cudaSuccess;
  event->stream = stream;
  event->kernels = stream->kernels;
  const uint64_t generation = ++event->recorded;
  Task task{[event, generation] {
    event->completed = std::max(event->completed, generation);
    event->reached = std::chrono::steady_clock::now();
    for (const cudaStream_t each : streams) begin_transfers(each);
    return std::string();
  }};
  task.is_mark = true;
  return push(stream, std::move(task));
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const Inside inside;
  if (!exists(stream)) return failed(cudaErrorInvalidResourceHandle);
  if (event->graph != stream->capture.get()) {
    invalidate_captures();
    return failed(cudaErrorStreamCaptureIsolation, "an event of one capture is waited for outside of it");
  }
  if (event->graph || event->recorded == 0) return cudaSuccess;
  stream->waited_for = event->stream;
  stream->waited_kernels = event->kernels;
  close_transfers(stream, event->stream);
  Task task{[event, generation = event->recorded] { return run_until(event, generation); }};
  task.waits_for = event;
  task.generation = event->recorded;
  return push(stream, std::move(task));
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  const Inside inside;
  return event->completed == event->recorded ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const Executor executor;
  if (is_capturing()) return refuse_capture("cudaEventSynchronize");
  if (!served_failure.empty()) return abandon(std::exchange(served_failure, ""));
  if (event->completed == event->recorded) return cudaSuccess;
  const OpenMemory open;
  const std::string error = run_until(event, event->recorded);
  count_wait();
  return error.empty() ? cudaSuccess : abandon(error);
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  const Inside inside;
  for (const cudaEvent_t event : {start, end})
    if (!event->is_timed || event->recorded == 0) return failed(cudaErrorInvalidResourceHandle);
  for (const cudaEvent_t event : {start, end})
    if (event->completed < event->recorded) return failed(cudaErrorNotReady);
  *milliseconds = std::chrono::duration<float, std::milli>(end->reached - start->reached).count();
  return cudaSuccess;
}
