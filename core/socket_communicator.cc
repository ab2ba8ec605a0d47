#include "core/socket_communicator.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <iostream>
#include <sstream>
#include <thread>

#include "core/error.h"
#include "core/queued_communicator.h"
#include "core/rank_watch.h"
#include "core/rendezvous.h"
#include "core/signals_blocked.h"
#include "core/tree_sum.h"

namespace engine {

namespace {

class SocketCommunicator final : public QueuedCommunicator {
 public:
  SocketCommunicator(const RankPlace& place, double seconds) {
    Meeting meeting = meet(place, seconds);
    rank_ = place.rank, size_ = place.size;
    local_rank_ = meeting.neighbours.local_rank, local_size_ = meeting.neighbours.local_size;
    {
      const SignalsBlocked blocked;
      watch_ = std::make_unique<RankWatch>(rank_, size_, std::move(meeting.control));
    }
    // Until the configuration says how long, no rank waits longer for another than for its coming.
    watch_->set_timeout(std::min(seconds, RankWatch::usual_timeout));
    Connections connections = connect_neighbours(place, meeting, *watch_);
    next_ = std::move(connections.next), previous_ = std::move(connections.previous);
    parent_ = std::move(connections.parent), children_ = std::move(connections.children);
    start_thread();
  }
  ~SocketCommunicator() override { end_thread(); }

  void let_first_speak() override {
    if (rank_ > 0) std::this_thread::sleep_for(std::chrono::milliseconds(std::min(500 + 100 * rank_, 3000)));
  }
  void abort(int code) override { watch_->fail(code); }
  void set_timeout(double seconds) override { watch_->set_timeout(seconds); }

 protected:
  void reduce(std::span<float> values, SumOrder order) override {
    if (order == SumOrder::fastest) return reduce_by(values, std::plus<float>());
    const std::vector<int64_t> begins = begins_of_shares(std::ssize(values));
    begin("sum", std::ssize(values));
    reduce_by_tree(values, begins);
    gather_around(values, begins);
  }
  void reduce(std::span<double> values) override { reduce_by(values, std::plus<double>()); }
  void reduce_bits(std::span<uint8_t> values) override { reduce_by(values, std::bit_or<uint8_t>()); }
  void reduce_scatter(std::span<float> values, std::span<const int64_t> begins, SumOrder order) override {
    begin("reduce-scatter", std::ssize(values));
    if (order == SumOrder::tree) reduce_by_tree(values, begins);
    else reduce_around(values, begins, std::plus<float>());
  }
  void all_gather(std::span<std::byte> values, std::span<const int64_t> begins) override {
    begin("all-gather", std::ssize(values));
    gather_around(values, begins);
  }
  std::vector<char> gather_bytes(std::span<const char> own) override;

 private:
  // Every exchange begins with this, so that ranks which do different things are seen.
  struct Head {
    int64_t number = 0, count = 0;  // of the exchange, and of its elements, -1: each rank has others
    char name[16] = {};
  };
  // A rank of a gather sends its parent a Block for itself and for each rank below it, each followed by its bytes.
  struct Block {
    int64_t rank = 0, bytes = 0;
  };

  int previous_rank() const { return (rank_ + size_ - 1) % size_; }
  int parent() const { return parent_of(rank_); }
  int child(size_t i) const { return first_child_of(rank_) + static_cast<int>(i); }
  void lose(int rank) { watch_->lost("has lost its connection to rank " + std::to_string(rank)); }
  void send(const Socket& to, const void* data, size_t bytes, int rank) {
    if (!Socket::exchange(to, data, bytes, to, nullptr, 0)) lose(rank);
  }
  void receive(const Socket& from, void* data, size_t bytes, int rank) {
    if (!Socket::exchange(from, nullptr, 0, from, data, bytes)) lose(rank);
  }
  // Returns memory that is kept, since sums of every step need it.
  std::byte* room(size_t bytes) {
    if (received_.size() < bytes) received_.resize(bytes);
    return received_.data();
  }
  void pass_on(const void* out, size_t out_bytes, void* in, size_t in_bytes) {
    if (!Socket::exchange(next_, out, out_bytes, previous_, in, in_bytes)) lose(previous_rank());
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
  std::span<T> part(std::span<T> values, std::span<const int64_t> begins, int rank) const {
    const auto at = static_cast<size_t>((rank + 2 * size_) % size_);
    return values.subspan(static_cast<size_t>(begins[at]), static_cast<size_t>(begins[at + 1] - begins[at]));
  }
  template <class T, class Combine>
  void reduce_by(std::span<T> values, const Combine& combine) {
    begin("sum", std::ssize(values));
    if (goes_by_tree(values.size_bytes())) return reduce_up_and_down(values, combine);
    const std::vector<int64_t> begins = begins_of_shares(std::ssize(values));
    reduce_around(values, begins, combine);
    gather_around(values, begins);
  }
  // Tells whether a sum of so many bytes is done sooner by the tree of ranks, in 2 d steps, d being its depth, than
  // around the ring, in 2 (size - 1). All bytes leave a rank up to twice there, and a piece of them in each step here.
  bool goes_by_tree(size_t bytes) const {
    constexpr double bytes_of_latency = 20e3;  // of a connection with 1 GB/s and 20 microseconds
    const double depth = std::bit_width(static_cast<unsigned>(size_)) - 1, steps = 2.0 * (size_ - 1 - depth);
    return static_cast<double>(bytes) * (4 * depth - 2) < steps * bytes_of_latency;
  }
  template <class T, class Combine>
  void reduce_up_and_down(std::span<T> values, const Combine& combine) {
    T* const received = reinterpret_cast<T*>(room(values.size_bytes()));
    for (size_t i = 0; i < children_.size(); ++i) {
      receive(children_[i], received, values.size_bytes(), child(i));
      for (size_t at = 0; at < values.size(); ++at) values[at] = static_cast<T>(combine(values[at], received[at]));
    }
    if (parent_) {
      send(parent_, values.data(), values.size_bytes(), parent());
      receive(parent_, values.data(), values.size_bytes(), parent());
    }
    for (size_t i = 0; i < children_.size(); ++i)
      send(children_[i], values.data(), values.size_bytes(), child(i));
  }
  // A part starts with the rank behind its own, and has been at all when it is there.
  template <class T, class Combine>
  void reduce_around(std::span<T> values, std::span<const int64_t> begins, const Combine& combine) {
    size_t most = 0;
    for (int rank = 0; rank < size_; ++rank) most = std::max(most, part(values, begins, rank).size_bytes());
    T* const received = reinterpret_cast<T*>(room(most));
    for (int step = 0; step + 1 < size_; ++step) {
      const std::span<T> out = part(values, begins, rank_ - step - 1), in = part(values, begins, rank_ - step - 2);
      pass_on(out.data(), out.size_bytes(), received, in.size_bytes());
      for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<T>(combine(received[i], in[i]));
    }
  }
  // Does the same where a part travels as the sums of the tree's nodes that it has been at.
  void reduce_by_tree(std::span<float> values, std::span<const int64_t> begins) {
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
  void gather_around(std::span<T> values, std::span<const int64_t> begins) {
    for (int step = 0; step + 1 < size_; ++step) {
      const std::span<T> out = part(values, begins, rank_ - step), in = part(values, begins, rank_ - step - 1);
      pass_on(out.data(), out.size_bytes(), in.data(), in.size_bytes());
    }
  }

  // Returns the bytes of all blocks, without the blocks.
  std::vector<char> in_order_of_ranks(const std::vector<char>& blocks) const {
    std::vector<std::span<const char>> of_ranks(static_cast<size_t>(size_));
    for (size_t at = 0; at < blocks.size();) {
      Block block;
      std::memcpy(&block, blocks.data() + at, sizeof block);
      at += sizeof block;
      of_ranks[static_cast<size_t>(block.rank)] = std::span(blocks).subspan(at, static_cast<size_t>(block.bytes));
      at += static_cast<size_t>(block.bytes);
    }
    std::vector<char> all;
    for (const std::span<const char>& one : of_ranks) all.insert(all.end(), one.begin(), one.end());
    return all;
  }

  Socket next_, previous_;         // ring
  Socket parent_;                  // tree; rank 0 has none
  std::vector<Socket> children_;   // tree
  std::unique_ptr<RankWatch> watch_;
  int64_t number_ = 0;  // of the exchange
  std::vector<std::byte> received_;
};

std::vector<char> SocketCommunicator::gather_bytes(std::span<const char> own) {
  begin("gather", -1);
  std::vector<char> blocks(sizeof(Block));
  const Block block{rank_, std::ssize(own)};
  std::memcpy(blocks.data(), &block, sizeof block);
  blocks.insert(blocks.end(), own.begin(), own.end());
  const auto receive_more = [&](const Socket& from, int rank, std::vector<char>& to) {
    uint64_t bytes = 0;
    receive(from, &bytes, sizeof bytes, rank);
    const size_t before = to.size();
    to.resize(before + bytes);
    receive(from, to.data() + before, bytes, rank);
  };
  const auto send_all = [&](const Socket& to, int rank, const std::vector<char>& bytes) {
    const uint64_t count = bytes.size();
    send(to, &count, sizeof count, rank);
    send(to, bytes.data(), bytes.size(), rank);
  };
  for (size_t i = 0; i < children_.size(); ++i) receive_more(children_[i], child(i), blocks);
  std::vector<char> all;
  if (parent_) {
    send_all(parent_, parent(), blocks);
    receive_more(parent_, parent(), all);
  } else {
    all = in_order_of_ranks(blocks);
  }
  for (size_t i = 0; i < children_.size(); ++i) send_all(children_[i], child(i), all);
  return all;
}

}  // namespace

std::unique_ptr<Communicator> make_socket_communicator(const RankPlace& place, double seconds) {
  return std::make_unique<SocketCommunicator>(place, seconds);
}

}  // namespace engine
