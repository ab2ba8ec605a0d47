#include "training/length_groups.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"

namespace engine {

namespace {

constexpr int64_t batches_a_group = 50;
constexpr uint64_t stream_of_orders = 0x6f72646572ull << 24;  // keeps these random numbers apart from all others

template <class Element>
void shuffle(std::vector<Element>& elements, Random& random) {
  for (size_t i = elements.size(); i > 1; --i)
    std::swap(elements[i - 1], elements[random.below(static_cast<uint32_t>(i))]);
}

}  // namespace

EpochPlan::EpochPlan(std::vector<int32_t> lengths, uint64_t seed, const BatchRule& rule, std::vector<float> shares)
    : lengths_(std::move(lengths)), rank_(lengths_.size()), shares_(std::move(shares)), seed_(seed), rule_(rule) {
  require(shares_.empty() || shares_.size() == lengths_.size(), "not as many shares as examples");
  double whole = static_cast<double>(lengths_.size());
  if (!shares_.empty()) {
    whole = 0;
    for (size_t i = 0; i < shares_.size(); ++i) {
      require(shares_[i] >= 0 && shares_[i] < 1e6f, "an example has the share ", shares_[i]);
      const double share = static_cast<double>(shares_[i]), part = share - std::floor(share);
      whole += share - part;
      partial_sum_ += part;
      if (part > 0) partial_.push_back(static_cast<int32_t>(i));
    }
  }
  const double count = whole + std::round(partial_sum_);
  require(count > 0, "there is no example to train on");
  require(count <= INT32_MAX, count, " examples: more than can be counted in 32 bits");
  require(rule.batch_size >= 1 || rule.batch_tokens >= 1, "a batch of no examples");
  order_.resize(static_cast<size_t>(count));
  batches_.reserve(order_.size());
  plan(0);
  steps_per_epoch_ = batches();
}

size_t EpochPlan::run_end(size_t begin, int64_t examples, int64_t tokens) const {
  const size_t count = order_.size();
  if (tokens == 0) return static_cast<size_t>(std::min<int64_t>(static_cast<int64_t>(count - begin), examples)) + begin;
  size_t end = begin;
  int64_t sum = 0;
  do sum += lengths_[static_cast<size_t>(order_[end++])];
  while (end < count && sum + lengths_[static_cast<size_t>(order_[end])] <= tokens);
  return end;
}

// The examples with a part of a share are put in a random order, their parts end to end on a line. Those are drawn
// within which one of round(sum) evenly spaced points lies, whose first is random.
void EpochPlan::draw(Random& random) {
  if (shares_.empty()) {
    std::iota(order_.begin(), order_.end(), 0);
    return;
  }
  size_t count = 0;
  for (size_t i = 0; i < shares_.size(); ++i)
    for (auto copies = static_cast<int64_t>(shares_[i]); copies > 0; --copies)
      order_[count++] = static_cast<int32_t>(i);
  const size_t drawn = order_.size() - count;
  if (drawn > 0) {
    std::sort(partial_.begin(), partial_.end());  // not the order of another epoch
    shuffle(partial_, random);
    const double space = partial_sum_ / static_cast<double>(drawn);
    double point = static_cast<double>(random.uniform()) * space, end = 0;
    for (const int32_t i : partial_) {
      const float share = shares_[static_cast<size_t>(i)];
      end += static_cast<double>(share) - std::floor(static_cast<double>(share));
      if (end <= point || count == order_.size()) continue;
      order_[count++] = i;
      point += space;
    }
    // Rounding may leave a place at the end of the line.
    while (count < order_.size()) order_[count++] = partial_.back();
  }
  if (!rule_.shuffle) std::sort(order_.begin(), order_.end());
}

void EpochPlan::plan(int64_t epoch) {
  epoch_ = epoch;
  Random random(seed_, stream_of_orders + static_cast<uint64_t>(epoch));
  draw(random);
  if (rule_.shuffle) shuffle(order_, random);
  if (rule_.shuffle && rule_.group_by_length) {
    for (size_t i = 0; i < order_.size(); ++i) rank_[static_cast<size_t>(order_[i])] = static_cast<int32_t>(i);
    const auto before = [&](int32_t a, int32_t b) {
      const auto i = static_cast<size_t>(a), j = static_cast<size_t>(b);
      return lengths_[i] != lengths_[j] ? lengths_[i] < lengths_[j] : rank_[i] < rank_[j];
    };
    for (size_t begin = 0, end; begin < order_.size(); begin = end) {
      end = run_end(begin, batches_a_group * rule_.batch_size, batches_a_group * rule_.batch_tokens);
      std::sort(order_.begin() + static_cast<std::ptrdiff_t>(begin), order_.begin() + static_cast<std::ptrdiff_t>(end),
                before);
    }
  }
  batches_.clear();
  for (size_t begin = 0, end; begin < order_.size(); begin = end) {
    end = run_end(begin, rule_.batch_size, rule_.batch_tokens);
    batches_.push_back({static_cast<int32_t>(begin), static_cast<int32_t>(end)});
  }
  if (rule_.shuffle) shuffle(batches_, random);
}

void EpochPlan::go_to_epoch_of(int64_t step) {
  if (rule_.batch_tokens == 0) {  // all epochs have as many steps
    const int64_t epoch = step / steps_per_epoch_;
    first_step_ = epoch * steps_per_epoch_;
    if (epoch != epoch_) plan(epoch);
    return;
  }
  if (step < first_step_) {
    first_step_ = 0;
    plan(0);
  }
  while (step >= first_step_ + batches()) {
    first_step_ += batches();
    plan(epoch_ + 1);
  }
}

int64_t EpochPlan::steps(double epochs) const {
  const auto up_to = [&](int64_t count) {
    return static_cast<int64_t>(std::ceil(epochs * static_cast<double>(count)));
  };
  if (rule_.batch_tokens == 0) return up_to(steps_per_epoch_);
  const auto whole = static_cast<int64_t>(std::floor(epochs));
  EpochPlan other(*this);
  int64_t count = 0;
  for (int64_t epoch = 0; epoch < whole; ++epoch) {
    other.plan(epoch);
    count += other.batches();
  }
  other.plan(whole);
  return count + up_to(other.batches()) - whole * other.batches();
}

std::pair<int64_t, int64_t> EpochPlan::epoch_of(int64_t step) {
  go_to_epoch_of(step);
  return {first_step_, batches()};
}

std::span<const int32_t> EpochPlan::batch(int64_t step) {
  require(step >= 0, "step ", step, " is before the first");
  go_to_epoch_of(step);
  const Batch& found = batches_[static_cast<size_t>(step - first_step_)];
  return std::span(order_).subspan(static_cast<size_t>(found.begin), static_cast<size_t>(found.end - found.begin));
}

}  // namespace engine
