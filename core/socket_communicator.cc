#include "core/socket_communicator.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <iostream>
#include <mutex>
#include <sstream>
#include <thread>

#include "core/error.h"
#include "core/rendezvous.h"
#include "core/tree_sum.h"

namespace engine {

namespace {

using Clock = std::chrono::steady_clock;

// A Message is what ranks tell one another beside their exchanges.
struct Message {
  enum Kind : int32_t { alive, done, failed, ended } kind = alive;
  int32_t rank = 0, code = 0;  // the rank that it is about, and with what exit code it failed
};

// A Watch notices when a rank of the others ends, and then ends this process.
class Watch {
 public:
  Watch(int rank, int size, std::vector<Socket> control)
      : rank_(rank), size_(size), control_(std::move(control)), heard_(control_.size(), Clock::now()),
        done_(control_.size()), wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), thread_([this] { run(); }) {}
  ~Watch() {
    says_done_ = true;
    wake();
    thread_.join();
    ::close(wake_);
  }
  void set_timeout(double seconds) { timeout_ = seconds; }
  // Ends all ranks with this exit code, and this process once they know.
  [[noreturn]] void fail(int code) {
    failed_code_ = code;
    wake();
    for (;;) pause();
  }
  // Says that an exchange with a rank has failed. Its end is then noticed here, too, or else this is what ends the
  // ranks. Does not return.
  [[noreturn]] void lost(int rank) {
    lost_ = rank;
    wake();
    for (;;) pause();
  }

 private:
  void wake() const {
    const uint64_t one = 1;
    if (write(wake_, &one, sizeof one) < 0) std::abort();
  }
  int rank_at(size_t i) const { return rank_ == 0 ? static_cast<int>(i) : 0; }
  void tell_all(const Message& message, size_t but = SIZE_MAX) const {
    for (size_t i = 0; i < control_.size(); ++i)
      if (control_[i] && i != but && !done_[i]) control_[i].send(&message, sizeof message, seconds_from_now(2));
  }

  void run() {
    Clock::time_point looked = Clock::now(), told = looked, lost_at{};
    while (!says_done_) {
      const double beat = std::min(1.0, timeout_ / 4);
      wait(beat);
      if (failed_code_ >= 0) {
        tell_all({Message::failed, rank_, failed_code_});
        std::_Exit(failed_code_);
      }
      read_all();
      const Clock::time_point now = Clock::now();
      // This process itself may have been stopped. Then the others are given their time anew.
      if (std::chrono::duration<double>(now - looked).count() > 4 * beat + 1)
        std::fill(heard_.begin(), heard_.end(), now);
      looked = now;
      // Only the clock makes a rank speak: answers to what is heard would never end.
      if (std::chrono::duration<double>(now - told).count() >= beat) {
        tell_all({Message::alive, rank_, 0});
        told = now;
      }
      for (size_t i = 0; i < control_.size(); ++i)
        if (control_[i] && !done_[i] && std::chrono::duration<double>(now - heard_[i]).count() > timeout_)
          end(i, "has not answered for " + std::to_string(static_cast<int>(timeout_)) +
                     " s: is it stopped, or its machine?");
      if (lost_ < 0) continue;
      if (lost_at == Clock::time_point{}) lost_at = now;
      else if (std::chrono::duration<double>(now - lost_at).count() > 5) end_by_connection();
    }
    tell_all({Message::done, rank_, 0});
  }

  void wait(double seconds) {
    std::vector<pollfd> wanted{{wake_, POLLIN, 0}};
    for (size_t i = 0; i < control_.size(); ++i)
      if (control_[i] && !done_[i]) wanted.push_back({control_[i].descriptor(), POLLIN, 0});
    poll(wanted.data(), wanted.size(), static_cast<int>(1000 * seconds));
    uint64_t count = 0;
    if (read(wake_, &count, sizeof count) < 0 && errno != EAGAIN) std::abort();
  }

  void read_all() {
    for (size_t i = 0; i < control_.size(); ++i) {
      while (control_[i] && !done_[i]) {
        pollfd wanted{control_[i].descriptor(), POLLIN, 0};
        if (poll(&wanted, 1, 0) <= 0) break;
        Message message;
        if (!control_[i].receive(&message, sizeof message, seconds_from_now(2))) {
          end(i, "ended without a word: was it killed, or was there too little memory?");
        } else if (message.kind == Message::done) {
          done_[i] = true;
        } else if (message.kind == Message::failed) {  // it has said why
          tell_all(message, i);
          std::_Exit(message.code);
        } else if (message.kind == Message::ended) {  // rank 0 has said it
          std::_Exit(1);
        }
        heard_[i] = Clock::now();
      }
    }
  }

  // Ends all because of the rank at the other end of a connection.
  [[noreturn]] void end(size_t i, const std::string& what) const {
    const int culprit = rank_at(i);
    if (rank_ == 0) tell_all({Message::ended, culprit, 0}, i);
    // The next rank speaks where rank 0 is the one.
    if (rank_ == (culprit == 0 ? 1 : 0)) {
      std::string line = "rank ";
      line.append(std::to_string(culprit)).append(" of ").append(std::to_string(size_)).append(" ").append(what);
      say(line);
    }
    std::_Exit(1);
  }
  [[noreturn]] void end_by_connection() const {
    tell_all({Message::failed, rank_, 1});
    say("rank " + std::to_string(rank_) + " of " + std::to_string(size_) + " has lost its connection to rank " +
        std::to_string(lost_));
    std::_Exit(1);
  }
  static void say(const std::string& line) {
    const std::string text = "engine: " + line + "; the last saved state can be resumed\n";
    if (write(2, text.data(), text.size()) < 0) return;
  }

  const int rank_, size_;
  const std::vector<Socket> control_;
  std::vector<Clock::time_point> heard_;
  std::vector<char> done_;  // ranks that have said goodbye
  const int wake_;
  std::atomic<double> timeout_ = 60;
  std::atomic<bool> says_done_ = false;
  std::atomic<int> failed_code_ = -1, lost_ = -1;
  std::thread thread_;
};

// The signals that a training obeys are for its main thread.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

class SocketCommunicator final : public Communicator {
 public:
  using Communicator::gather;

  SocketCommunicator(const RankPlace& place, Meeting meeting)
      : next_(std::move(meeting.next)), previous_(std::move(meeting.previous)) {
    rank_ = place.rank, size_ = place.size;
    local_rank_ = meeting.local_rank, local_size_ = meeting.local_size;
    const SignalsBlocked blocked;
    watch_ = std::make_unique<Watch>(rank_, size_, std::move(meeting.control));
    thread_ = std::thread([this] { work(); });
  }
  ~SocketCommunicator() override {
    add({});
    thread_.join();
  }

  void sum(std::span<float> values) override { start_sum(values, SumOrder::fastest), wait(); }
  void sum(std::span<double> values) override {
    add([=, this] { reduce(values, std::plus<double>()); });
    wait();
  }
  void start_sum(std::span<float> values, SumOrder order) override {
    if (order == SumOrder::fastest) return add([=, this] { reduce(values, std::plus<float>()); });
    require_tree();
    add([=, this] {
      const std::vector<int64_t> begins = begins_of_shares(std::ssize(values));
      begin("sum", std::ssize(values));
      reduce_by_tree(values, begins);
      all_gather(values, begins);
    });
  }
  void start_or(std::span<uint8_t> values) override {
    add([=, this] { reduce(values, std::bit_or<uint8_t>()); });
  }
  void start_reduce_scatter(std::span<float> values, std::span<const int64_t> begins, SumOrder order) override {
    if (order == SumOrder::tree) require_tree();
    add([=, this, begins = std::vector<int64_t>(begins.begin(), begins.end())] {
      begin("reduce-scatter", std::ssize(values));
      if (order == SumOrder::tree) reduce_by_tree(values, begins);
      else reduce_scatter(values, begins, std::plus<float>());
    });
  }
  void start_all_gather(std::span<std::byte> values, std::span<const int64_t> begins) override {
    add([=, this, begins = std::vector<int64_t>(begins.begin(), begins.end())] {
      begin("all-gather", std::ssize(values));
      all_gather(values, begins);
    });
  }
  void wait() override {
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [&] { return waiting_.empty() && !is_busy_; });
  }
  std::vector<float> gather(const std::vector<float>& own) override { return gather_all(own); }
  std::vector<int32_t> gather(const std::vector<int32_t>& own) override { return gather_all(own); }
  std::vector<char> gather(const std::vector<char>& own) override { return gather_all(own); }
  void let_first_speak() override {
    if (rank_ > 0) std::this_thread::sleep_for(std::chrono::milliseconds(std::min(500 + 100 * rank_, 3000)));
  }
  void abort(int code) override { watch_->fail(code); }
  void set_timeout(double seconds) override { watch_->set_timeout(seconds); }

 private:
  // Every exchange begins with this, so that ranks which do different things are seen.
  struct Head {
    int64_t number = 0, count = 0;  // of the exchange, and of its elements, -1: each rank has others
    char name[16] = {};
  };

  void add(std::function<void()> exchange) {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(exchange));
    added_.notify_one();
  }
  void work() {
    for (;;) {
      std::unique_lock lock(mutex_);
      added_.wait(lock, [&] { return !waiting_.empty(); });
      const std::function<void()> exchange = std::move(waiting_.front());
      waiting_.pop_front();
      if (!exchange) return;
      is_busy_ = true;
      lock.unlock();
      exchange();
      lock.lock();
      is_busy_ = false;
      if (waiting_.empty()) idle_.notify_all();
    }
  }

  int previous_rank() const { return (rank_ + size_ - 1) % size_; }
  void pass_on(const void* out, size_t out_bytes, void* in, size_t in_bytes) {
    if (!Socket::exchange(next_, out, out_bytes, previous_, in, in_bytes)) watch_->lost(previous_rank());
  }
  void begin(const char* name, int64_t count) {
    Head own{.number = number_++, .count = count};
    std::strncpy(own.name, name, sizeof own.name - 1);
    Head other;
    pass_on(&own, sizeof own, &other, sizeof other);
    if (std::memcmp(&own, &other, sizeof own) == 0) return;
    other.name[sizeof other.name - 1] = 0;
    std::ostringstream text;
    text << "engine: exchange " << own.number << " of rank " << rank_ << " is a " << own.name << " of " << own.count
         << " elements, and exchange " << other.number << " of rank " << previous_rank() << " is a " << other.name
         << " of " << other.count << "\n";
    std::cerr << text.str();
    watch_->fail(1);
  }

  // Returns the part of a rank, which is counted around the ring.
  template <class T>
  std::span<T> part(std::span<T> values, const std::vector<int64_t>& begins, int rank) const {
    const auto at = static_cast<size_t>((rank + 2 * size_) % size_);
    return values.subspan(static_cast<size_t>(begins[at]), static_cast<size_t>(begins[at + 1] - begins[at]));
  }
  template <class T, class Combine>
  void reduce(std::span<T> values, const Combine& combine) {
    const std::vector<int64_t> begins = begins_of_shares(std::ssize(values));
    begin("sum", std::ssize(values));
    reduce_scatter(values, begins, combine);
    all_gather(values, begins);
  }
  // A part starts with the rank behind its own, and has been at all when it is there.
  template <class T, class Combine>
  void reduce_scatter(std::span<T> values, const std::vector<int64_t>& begins, const Combine& combine) {
    size_t room = 0;
    for (int rank = 0; rank < size_; ++rank) room = std::max(room, part(values, begins, rank).size_bytes());
    if (received_.size() < room) received_.resize(room);
    T* const received = reinterpret_cast<T*>(received_.data());
    for (int step = 0; step + 1 < size_; ++step) {
      const std::span<T> out = part(values, begins, rank_ - step - 1), in = part(values, begins, rank_ - step - 2);
      pass_on(out.data(), out.size_bytes(), received, in.size_bytes());
      for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<T>(combine(received[i], in[i]));
    }
  }
  // Does the same where a part travels as the sums of the tree's nodes that it has been at.
  void reduce_by_tree(std::span<float> values, const std::vector<int64_t>& begins) {
    const std::span<float> first = part(values, begins, rank_ - 1);
    TreeSums sums(first.size());
    sums.add(rank_, first);
    for (int step = 0; step + 1 < size_; ++step) {
      const std::span<float> own = part(values, begins, rank_ - step - 2);
      TreeSums coming(own.size(), (rank_ - step - 1 + size_) % size_, step + 1, size_);
      const std::span<float> out = sums.values(), in = coming.values();
      pass_on(out.data(), out.size_bytes(), in.data(), in.size_bytes());
      sums = std::move(coming);
      sums.add(rank_, own);
    }
    std::copy(sums.values().begin(), sums.values().end(), part(values, begins, rank_).begin());
  }
  template <class T>
  void all_gather(std::span<T> values, const std::vector<int64_t>& begins) {
    for (int step = 0; step + 1 < size_; ++step) {
      const std::span<T> out = part(values, begins, rank_ - step), in = part(values, begins, rank_ - step - 1);
      pass_on(out.data(), out.size_bytes(), in.data(), in.size_bytes());
    }
  }

  template <class T>
  std::vector<T> gather_all(const std::vector<T>& own) {
    std::vector<std::vector<T>> all(static_cast<size_t>(size_));
    all[static_cast<size_t>(rank_)] = own;
    add([&] {
      begin("gather", -1);
      for (int step = 0; step + 1 < size_; ++step) {
        const std::vector<T>& out = all[static_cast<size_t>((rank_ + size_ - step) % size_)];
        std::vector<T>& in = all[static_cast<size_t>((rank_ + 2 * size_ - step - 1) % size_)];
        const uint64_t count = out.size();
        uint64_t coming = 0;
        pass_on(&count, sizeof count, &coming, sizeof coming);
        in.resize(coming);
        pass_on(out.data(), out.size() * sizeof(T), in.data(), in.size() * sizeof(T));
      }
    });
    wait();
    std::vector<T> joined;
    for (const std::vector<T>& one : all) joined.insert(joined.end(), one.begin(), one.end());
    return joined;
  }

  Socket next_, previous_;
  std::unique_ptr<Watch> watch_;
  int64_t number_ = 0;  // of the exchange
  std::vector<std::byte> received_;  // a piece of a sum; kept, since sums of every step need it
  std::mutex mutex_;
  std::condition_variable added_, idle_;
  std::deque<std::function<void()>> waiting_;
  bool is_busy_ = false;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<Communicator> make_socket_communicator(const RankPlace& place, double seconds) {
  return std::make_unique<SocketCommunicator>(place, meet(place, seconds));
}

}  // namespace engine
