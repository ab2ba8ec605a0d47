#include "tests/cudasim/stream.h"

#include <algorithm>

#include "tests/cudasim/block.h"
#include "tests/cudasim/memory.h"

namespace cudasim {

namespace {

std::vector<cudaStream_t> streams;

bool exists(cudaStream_t stream) { return std::find(streams.begin(), streams.end(), stream) != streams.end(); }

std::string run_next(cudaStream_t stream) {
  const Task task = std::move(stream->queue.front());
  stream->queue.pop_front();
  return task.run();
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

bool is_capturing() {
  return std::any_of(streams.begin(), streams.end(), [](cudaStream_t s) { return s->capture != nullptr; });
}

void invalidate_captures() {
  for (const cudaStream_t stream : streams)
    if (stream->capture) stream->capture->is_invalid = true;
}

cudaError_t push(cudaStream_t stream, Task task) {
  if (!exists(stream)) return failed(cudaErrorInvalidResourceHandle, "no such stream (the default stream is not used)");
  if (stream->capture)
    stream->capture->tasks.push_back(std::move(task));
  else
    stream->queue.push_back(std::move(task));
  return cudaSuccess;
}

cudaError_t finish(cudaStream_t stream) {
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
  *stream = new CUstream_st;
  streams.push_back(*stream);
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  if (!exists(stream)) return failed(cudaErrorInvalidResourceHandle);
  const cudaError_t code = finish(stream);
  streams.erase(std::find(streams.begin(), streams.end(), stream));
  delete stream;
  return code;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (!exists(stream)) return failed(cudaErrorInvalidResourceHandle);
  if (is_capturing()) return refuse_capture("cudaStreamSynchronize");
  const cudaError_t code = finish(stream);
  count_wait();
  return code;
}

cudaError_t cudaDeviceSynchronize() {
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
  // Tasks that name the event may still wait.
  const cudaError_t code = finish_all();
  delete event;
  return code;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (!exists(stream)) return failed(cudaErrorInvalidResourceHandle);
  event->graph = stream->capture.get();
  if (event->graph) return cudaSuccess;
  event->stream = stream;
  const uint64_t generation = ++event->recorded;
  return push(stream, {[event, generation] {
                         event->completed = std::max(event->completed, generation);
                         event->reached = std::chrono::steady_clock::now();
                         return std::string();
                       }});
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (!exists(stream)) return failed(cudaErrorInvalidResourceHandle);
  if (event->graph != stream->capture.get()) {
    invalidate_captures();
    return failed(cudaErrorStreamCaptureIsolation, "an event of one capture is waited for outside of it");
  }
  if (event->graph || event->recorded == 0) return cudaSuccess;
  return push(stream, {[event, generation = event->recorded] { return run_until(event, generation); }});
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (is_capturing()) return refuse_capture("cudaEventSynchronize");
  if (event->completed == event->recorded) return cudaSuccess;
  const OpenMemory open;
  const std::string error = run_until(event, event->recorded);
  count_wait();
  return error.empty() ? cudaSuccess : abandon(error);
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  for (const cudaEvent_t event : {start, end})
    if (!event->is_timed || event->recorded == 0) return failed(cudaErrorInvalidResourceHandle);
  for (const cudaEvent_t event : {start, end})
    if (event->completed < event->recorded) return failed(cudaErrorNotReady);
  *milliseconds = std::chrono::duration<float, std::milli>(end->reached - start->reached).count();
  return cudaSuccess;
}
