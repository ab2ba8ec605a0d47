#include "core/queued_communicator.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/signals_blocked.h"

namespace engine {

QueuedCommunicator::~QueuedCommunicator() { end_thread(); }

template <class T>
void QueuedCommunicator::Bucket<T>::copy_back() const {
  const T* from = values.data();
  for (const std::span<T>& tensor : tensors) {
    std::copy_n(from, tensor.size(), tensor.begin());
    from += tensor.size();
  }
}

void QueuedCommunicator::sum(std::span<float> values) {
  start_sum(values, SumOrder::fastest);
  wait();
}

void QueuedCommunicator::sum(std::span<double> values) {
  add("sum", values.size_bytes(), [=, this] { reduce(values); });
  wait();
}

void QueuedCommunicator::start_sum(std::span<float> values, SumOrder order) {
  if (order == SumOrder::tree) require_tree();
  if (!is_small(values.size_bytes()))
    return add("sum", values.size_bytes(), [=, this] { reduce(values, order); });
  if (order != order_) flush_sums();
  order_ = order;
  sums_.add(values);
  if (sums_.is_full()) flush_sums();
}

void QueuedCommunicator::start_or(std::span<uint8_t> values) {
  if (!is_small(values.size_bytes()))
    return add("or", values.size_bytes(), [=, this] { reduce_bits(values); });
  bits_.add(values);
  if (bits_.is_full()) flush_bits();
}

// Every rank gets the whole sum of a small tensor.
void QueuedCommunicator::start_reduce_scatter(std::span<float> values, std::span<const int64_t> begins,
                                              SumOrder order) {
  if (is_small(values.size_bytes())) return start_sum(values, order);
  if (order == SumOrder::tree) require_tree();
  add("reduce-scatter", values.size_bytes(), [=, this, begins = std::vector<int64_t>(begins.begin(), begins.end())] {
    reduce_scatter(values, begins, order);
  });
}

// The bits of a small tensor are the whole where each rank has 0 beside its own part.
void QueuedCommunicator::start_all_gather(std::span<std::byte> values, std::span<const int64_t> begins) {
  if (is_small(values.size())) {
    const auto own = static_cast<size_t>(rank_);
    const auto begin = static_cast<size_t>(begins[own]), end = static_cast<size_t>(begins[own + 1]);
    std::fill_n(values.begin(), begin, std::byte{});
    std::fill(values.begin() + static_cast<ptrdiff_t>(end), values.end(), std::byte{});
    return start_or({reinterpret_cast<uint8_t*>(values.data()), values.size()});
  }
  add("all-gather", values.size(), [=, this, begins = std::vector<int64_t>(begins.begin(), begins.end())] {
    all_gather(values, begins);
  });
}

void QueuedCommunicator::flush_sums() {
  if (sums_.tensors.empty()) return;
  const size_t bytes = sums_.bytes();
  add("sum", bytes, [this, bucket = std::exchange(sums_, {}), order = order_]() mutable {
    reduce(std::span(bucket.values), order);
    bucket.copy_back();
  });
}

void QueuedCommunicator::flush_bits() {
  if (bits_.tensors.empty()) return;
  const size_t bytes = bits_.bytes();
  add("or", bytes, [this, bucket = std::exchange(bits_, {})]() mutable {
    reduce_bits(bucket.values);
    bucket.copy_back();
  });
}

void QueuedCommunicator::wait() {
  flush_sums();
  flush_bits();
  is_waited_for_ = true;
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [&] { return waiting_.empty() && !is_busy_; });
  is_waited_for_ = false;
}

void QueuedCommunicator::start_thread() {
  const SignalsBlocked blocked;
  thread_ = std::thread([this] { run(); });
}

void QueuedCommunicator::end_thread() {
  if (!thread_.joinable()) return;
  add({});
  thread_.join();
}

void QueuedCommunicator::add(const char* name, size_t bytes, std::function<void()> work) {
  const std::lock_guard lock(mutex_);
  waiting_.push_back({name, bytes, std::move(work)});
  added_.notify_one();
}

void QueuedCommunicator::run() {
  for (;;) {
    std::unique_lock lock(mutex_);
    added_.wait(lock, [&] { return !waiting_.empty(); });
    const Queued next = std::move(waiting_.front());
    waiting_.pop_front();
    if (!next.work) return;
    is_busy_ = true;
    lock.unlock();
    const double begin = steady_seconds();
    next.work();
    lock.lock();
    is_busy_ = false;
    if (notes_exchanges_) exchanges_.push_back({next.name, next.bytes, next.started, begin, steady_seconds()});
    if (waiting_.empty()) idle_.notify_all();
  }
}

std::vector<ExchangeSpan> QueuedCommunicator::take_exchanges() {
  const std::lock_guard lock(mutex_);
  notes_exchanges_ = true;
  return std::exchange(exchanges_, {});
}

template <class T>
std::vector<T> QueuedCommunicator::gather_all(const std::vector<T>& own) {
  std::vector<char> all;
  const std::span<const char> bytes(reinterpret_cast<const char*>(own.data()), own.size() * sizeof(T));
  add("gather", bytes.size(), [&] { all = gather_bytes(bytes); });
  wait();
  std::vector<T> result(all.size() / sizeof(T));
  std::copy(all.begin(), all.end(), reinterpret_cast<char*>(result.data()));  // there may be none
  return result;
}

template std::vector<float> QueuedCommunicator::gather_all(const std::vector<float>&);
template std::vector<int32_t> QueuedCommunicator::gather_all(const std::vector<int32_t>&);
template std::vector<char> QueuedCommunicator::gather_all(const std::vector<char>&);

}  // namespace engine
