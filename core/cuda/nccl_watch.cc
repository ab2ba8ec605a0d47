#include "core/cuda/nccl_watch.h"

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <sstream>

#include "core/cuda/device.h"

namespace engine::cuda {

namespace {

constexpr std::chrono::milliseconds look_every{50};
// A rank that is dead or stopped is noticed by the host's communicator, too, which knows its number. It has so many
// seconds more to say it.
constexpr double head_start = 2;

}  // namespace

NcclWatch::NcclWatch(const Nccl& library, ncclComm* communicator, int gpu, Communicator& host, double timeout)
    : library_(library), communicator_(communicator), gpu_(gpu), host_(host), timeout_(timeout) {
  // The signals that a training obeys are for its main thread.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  thread_ = std::thread([this] { run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

NcclWatch::~NcclWatch() {
  {
    const std::lock_guard lock(mutex_);
    is_over_ = true;
  }
  woken_.notify_one();
  thread_.join();
  unused_.insert(unused_.end(), spans_.begin(), spans_.end());
  for (const Span& span : unused_)
    for (const cudaEvent_t event : {span.can_begin, span.is_done}) cudaEventDestroy(event);
}

void NcclWatch::add(cudaStream_t from, cudaStream_t exchanges) {
  const std::lock_guard lock(mutex_);
  Span span;
  if (unused_.empty()) {
    for (cudaEvent_t* const event : {&span.can_begin, &span.is_done})
      check(cudaEventCreateWithFlags(event, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  } else {
    span = unused_.back();
    unused_.pop_back();
    span.has_begun = false;
  }
  check(cudaEventRecord(span.can_begin, from), "cudaEventRecord");
  check(cudaEventRecord(span.is_done, exchanges), "cudaEventRecord");
  spans_.push_back(span);
}

void NcclWatch::run() {
  cudaSetDevice(gpu_);
  std::unique_lock lock(mutex_);
  while (!woken_.wait_for(lock, look_every, [this] { return is_over_; })) {
    const std::string found = problem();
    if (found.empty()) continue;
    lock.unlock();
    end(found);
  }
}

std::string NcclWatch::problem() {
  NcclResult state = NcclResult::success;
  const NcclResult asked = library_.asynchronous_error(communicator_, &state);
  if (asked != NcclResult::success) state = asked;
  if (state != NcclResult::success && state != NcclResult::in_progress) return library_.text_of(state, communicator_);
  const Clock::time_point now = Clock::now();
  while (!spans_.empty()) {
    Span& span = spans_.front();
    if (!span.has_begun) {
      if (cudaEventQuery(span.can_begin) != cudaSuccess) return "";
      span.has_begun = true;
      span.begin = now;
    }
    if (cudaEventQuery(span.is_done) != cudaSuccess) {
      if (std::chrono::duration<double>(now - span.begin).count() <= timeout_ + head_start) return "";
      std::ostringstream text;
      text << "an exchange of gradients has not ended for " << timeout_ << " s: do all ranks do the same?";
      return text.str();
    }
    unused_.push_back(span);
    spans_.pop_front();
  }
  return "";
}

void NcclWatch::end(const std::string& problem) {
  // All ranks find much the same. The first one has the first word.
  std::this_thread::sleep_for(std::chrono::duration<double>(1 + 0.5 * std::min(host_.rank(), 8)));
  std::ostringstream text;
  text << "engine: rank " << host_.rank() << " of " << host_.size() << ": NCCL: " << problem
       << "; the last saved state can be resumed\n";
  const std::string line = text.str();
  if (write(2, line.data(), line.size()) < 0) std::_Exit(1);
  is_ending_ = true;
  library_.abort(communicator_);
  host_.abort(1);
  std::_Exit(1);
}

}  // namespace engine::cuda
