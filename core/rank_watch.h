// A RankWatch is a thread that notices when a rank of the others ends without a word, or does not answer for as long as
// the timeout. It then ends this process, and one rank says why (socket_communicator.h).
#pragma once

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "core/sockets.h"

namespace engine {

class RankWatch {
 public:
  static constexpr double usual_timeout = 60;  // seconds

  // control: of rank 0, the connection to each rank, its own absent; of another, that to rank 0.
  RankWatch(int rank, int size, std::vector<Socket> control);
  ~RankWatch();
  RankWatch(const RankWatch&) = delete;
  RankWatch& operator=(const RankWatch&) = delete;

  void set_timeout(double seconds) { timeout_ = seconds; }
  // Ends all ranks with this exit code, and this process once they know.
  [[noreturn]] void fail(int code);
  // Says that a rank cannot be reached, as "has lost its connection to rank 2" tells of this one. That rank's end is
  // then noticed here, too, or else this is what ends the ranks. Does not return.
  [[noreturn]] void lost(const std::string& what);

 private:
  using Clock = std::chrono::steady_clock;
  // A Message is what ranks tell one another beside their exchanges.
  struct Message {
    enum Kind : int32_t { alive, done, failed, ended } kind = alive;
    int32_t rank = 0, code = 0;  // the rank that it is about, and with what exit code it failed
  };

  void run();
  void wake() const;
  std::vector<size_t> wait(double seconds) const;  // returns the connections that something has come from
  void read_from(size_t i);
  int rank_at(size_t i) const { return rank_ == 0 ? static_cast<int>(i) : 0; }
  void tell_all(const Message& message, size_t but = SIZE_MAX) const;
  // Ends all because of the rank at the other end of a connection.
  [[noreturn]] void end(size_t i, const std::string& what) const;
  [[noreturn]] void end_by_connection() const;
  static void say(const std::string& line);

  const int rank_, size_;
  const std::vector<Socket> control_;
  std::vector<Clock::time_point> heard_;
  std::vector<char> done_;  // ranks that have said goodbye
  const int wake_;
  std::atomic<double> timeout_ = usual_timeout;
  std::atomic<bool> says_done_ = false, is_lost_ = false;
  std::string lost_;  // what was lost, once is_lost_
  std::atomic<int> failed_code_ = -1;
  std::thread thread_;
};

}  // namespace engine
