// A NcclWatch looks after a rank's exchanges on devices from a thread of its own, while the main thread may be waiting
// for the device. Where NCCL reports an error, or an exchange does not end in time, it aborts NCCL's communicator and
// ends all ranks with one line.
#pragma once

#include <cuda_runtime.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/communicator.h"
#include "core/cuda/nccl.h"

namespace engine::cuda {

class NcclWatch {
 public:
  // Watches a communicator on the GPU of this number. `host` ends the ranks.
  NcclWatch(const Nccl& library, ncclComm* communicator, int gpu, Communicator& host, double timeout);
  ~NcclWatch();
  NcclWatch(const NcclWatch&) = delete;
  NcclWatch& operator=(const NcclWatch&) = delete;

  void set_timeout(double seconds) { timeout_ = seconds; }
  // Holds the calling thread where the ranks are being ended: exchanges that were aborted have left wrong numbers.
  void hold_if_ending() const {
    while (is_ending_) pause();
  }
  // Notes that the exchanges started so far can begin once `from` has done what it was given, and that they are done
  // once `exchanges` has done what it was given. From the one to the other they have as long as the timeout.
  void add(cudaStream_t from, cudaStream_t exchanges);

 private:
  using Clock = std::chrono::steady_clock;
  // A Span is the time of some exchanges.
  struct Span {
    cudaEvent_t can_begin = nullptr, is_done = nullptr;
    bool has_begun = false;
    Clock::time_point begin;
  };

  void run();
  // Returns what has gone wrong, empty if nothing.
  std::string problem();
  [[noreturn]] void end(const std::string& problem);

  const Nccl& library_;
  ncclComm* const communicator_;
  const int gpu_;
  Communicator& host_;
  std::atomic<double> timeout_;
  std::mutex mutex_;
  std::condition_variable woken_;
  bool is_over_ = false;
  std::atomic<bool> is_ending_ = false;
  std::deque<Span> spans_;
  std::vector<Span> unused_;
  std::thread thread_;
};

}  // namespace engine::cuda
