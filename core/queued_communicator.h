// A QueuedCommunicator has a thread that does one exchange after another while the caller computes, so that exchanges
// go on behind the backward pass. MPI's and TCP's derive from it.
//
// An exchange costs a latency however small it is. So small tensors are copied together into a bucket, which is one
// exchange: it is done when it is full, or when the caller waits. Larger tensors are exchanged where they are. Which
// tensors share a bucket follows from their sizes and order alone.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

#include "core/communicator.h"

namespace engine {

class QueuedCommunicator : public Communicator {
 public:
  using Communicator::gather;
  // A tensor of so many bytes at most goes into a bucket, which is full when it has that many.
  static constexpr size_t small_bytes = size_t{32} << 10, bucket_bytes = size_t{256} << 10;

  ~QueuedCommunicator() override;

  void sum(std::span<float> values) override;
  void sum(std::span<double> values) override;
  void start_sum(std::span<float> values, SumOrder order) override;
  void start_or(std::span<uint8_t> values) override;
  void start_reduce_scatter(std::span<float> values, std::span<const int64_t> begins, SumOrder order) override;
  void start_all_gather(std::span<std::byte> values, std::span<const int64_t> begins) override;
  void wait() override;
  std::vector<float> gather(const std::vector<float>& own) override { return gather_all(own); }
  std::vector<int32_t> gather(const std::vector<int32_t>& own) override { return gather_all(own); }
  std::vector<char> gather(const std::vector<char>& own) override { return gather_all(own); }
  std::vector<ExchangeSpan> take_exchanges() override;

 protected:
  // These are the exchanges, one at a time, on the thread.
  virtual void reduce(std::span<float> values, SumOrder order) = 0;
  virtual void reduce(std::span<double> values) = 0;
  virtual void reduce_bits(std::span<uint8_t> values) = 0;
  virtual void reduce_scatter(std::span<float> values, std::span<const int64_t> begins, SumOrder order) = 0;
  virtual void all_gather(std::span<std::byte> values, std::span<const int64_t> begins) = 0;
  // Returns the bytes of all ranks, those of rank 0 first.
  virtual std::vector<char> gather_bytes(std::span<const char> own) = 0;

  // A derived class starts the thread once the exchanges can be made, and ends it before they no longer can.
  void start_thread();
  void end_thread();
  // Makes the thread do something behind all that was started.
  void add(std::function<void()> work) { add("", 0, std::move(work)); }
  // Returns whether the caller waits, and has nothing else to do.
  bool is_waited_for() const { return is_waited_for_; }

 private:
  // A Bucket holds small tensors, one behind the other.
  template <class T>
  struct Bucket {
    std::vector<T> values;
    std::vector<std::span<T>> tensors;

    void add(std::span<T> tensor) {
      values.insert(values.end(), tensor.begin(), tensor.end());
      tensors.push_back(tensor);
    }
    size_t bytes() const { return values.size() * sizeof(T); }
    bool is_full() const { return bytes() >= bucket_bytes; }
    void copy_back() const;
  };

  // An exchange that waits for its turn. One without work ends the thread.
  struct Queued {
    const char* name;
    size_t bytes;
    std::function<void()> work;
    double started = steady_seconds();
  };

  void add(const char* name, size_t bytes, std::function<void()> work);
  bool is_small(size_t bytes) const { return bytes <= small_bytes; }
  void flush_sums();
  void flush_bits();
  void run();
  template <class T>
  std::vector<T> gather_all(const std::vector<T>& own);

  Bucket<float> sums_;
  SumOrder order_ = SumOrder::fastest;  // of the bucket of sums
  Bucket<uint8_t> bits_;
  std::mutex mutex_;
  std::condition_variable added_, idle_;
  std::deque<Queued> waiting_;
  bool is_busy_ = false, notes_exchanges_ = false;
  std::vector<ExchangeSpan> exchanges_;
  std::atomic<bool> is_waited_for_ = false;
  std::thread thread_;
};

}  // namespace engine
