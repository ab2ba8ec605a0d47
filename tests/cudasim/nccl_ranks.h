// How the ranks of the simulated NCCL reach one another: sockets of this machine, each rank to every other one.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace cudasim {

class NcclRanks {
 public:
  // Begins to connect this rank to the others of the same name.
  NcclRanks(std::string name, int rank, int size);
  ~NcclRanks();
  NcclRanks(const NcclRanks&) = delete;
  NcclRanks& operator=(const NcclRanks&) = delete;

  bool is_connected() const { return is_connected_; }
  // The first rank whose process has ended, or -1.
  int lost() const { return lost_; }
  // Sends a message to another rank. Called outside the device (monitor.h), as it may wait. What a rank that has ended
  // does not take is dropped.
  void send(int to, const std::string& message);
  // These are called inside the device. has_message tells whether the oldest message of a rank is there, which take
  // removes.
  bool has_message(int from) const { return !received_[static_cast<size_t>(from)].empty(); }
  std::string take(int from);
  // Ends all waiting. Nothing is sent or received any more.
  void stop();

 private:
  void connect_all();
  void receive_all();
  int connect_to(int rank) const;

  const std::string name_;
  const int rank_, size_;
  int listener_ = -1, wake_[2] = {-1, -1};
  std::vector<int> sockets_;  // one a rank, own: -1
  std::vector<std::deque<std::string>> received_;
  std::atomic<bool> is_connected_ = false, stopped_ = false;
  std::atomic<int> lost_ = -1;
  std::thread thread_;
};

}  // namespace cudasim
