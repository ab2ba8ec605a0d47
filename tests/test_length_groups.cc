#include "training/length_groups.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "core/error.h"

namespace engine::test::test_length_groups {

namespace {

std::vector<int32_t> lengths_of(size_t count) {
  Random random(3, 0);
  std::vector<int32_t> lengths(count);
  for (int32_t& length : lengths) length = static_cast<int32_t>(2 + random.below(60));
  return lengths;
}

using Batches = std::vector<std::vector<int32_t>>;

Batches batches_of(EpochPlan& plan, int64_t first, int64_t last) {
  Batches batches;
  for (int64_t step = first; step < last; ++step) {
    const std::span<const int32_t> batch = plan.batch(step);
    batches.emplace_back(batch.begin(), batch.end());
  }
  return batches;
}

bool holds_each_once(const Batches& batches, size_t count) {
  std::multiset<int32_t> seen;
  for (const std::vector<int32_t>& batch : batches) seen.insert(batch.begin(), batch.end());
  std::vector<int32_t> all(count);
  std::iota(all.begin(), all.end(), 0);
  return std::equal(seen.begin(), seen.end(), all.begin(), all.end());
}

int64_t tokens_of(const std::vector<int32_t>& batch, const std::vector<int32_t>& lengths) {
  int64_t sum = 0;
  for (const int32_t i : batch) sum += lengths[static_cast<size_t>(i)];
  return sum;
}

// Returns how much padding to the longest of each batch would add, as a share of the tokens.
double padding(const Batches& batches, const std::vector<int32_t>& lengths) {
  double padded = 0, tokens = 0;
  for (const std::vector<int32_t>& batch : batches) {
    int32_t longest = 0;
    for (const int32_t i : batch) longest = std::max(longest, lengths[static_cast<size_t>(i)]);
    padded += static_cast<double>(longest) * static_cast<double>(batch.size());
    tokens += static_cast<double>(tokens_of(batch, lengths));
  }
  return padded / tokens - 1;
}

}  // namespace

TEST_CASE("length groups: every epoch takes every example once, in another order, and the same again") {
  const std::vector<int32_t> lengths = lengths_of(1003);
  for (const int64_t tokens : {0, 300})
    for (const bool group : {false, true}) {
      CAPTURE(tokens);
      CAPTURE(group);
      const BatchRule rule{.batch_size = 8, .batch_tokens = tokens, .group_by_length = group};
      EpochPlan plan(lengths, 5, rule);
      const int64_t first = plan.steps(1), second = plan.steps(2);
      CHECK(first == plan.steps_per_epoch());
      const Batches a = batches_of(plan, 0, first), b = batches_of(plan, first, second);
      CHECK(holds_each_once(a, lengths.size()));
      CHECK(holds_each_once(b, lengths.size()));
      CHECK(a != b);
      CHECK(batches_of(plan, 0, first) == a);  // back to the first epoch
      EpochPlan late(lengths, 5, rule), other(lengths, 6, rule);
      CHECK(batches_of(late, first, second) == b);  // as a resumed run begins
      CHECK(batches_of(other, 0, other.steps(1)) != a);
    }
}

TEST_CASE("length groups: the epoch of a step, its first step and its length") {
  const std::vector<int32_t> lengths = lengths_of(1003);
  EpochPlan equal(lengths, 5, {.batch_size = 8});
  CHECK(equal.epoch_of(125) == std::pair<int64_t, int64_t>(0, 126));
  CHECK(equal.epoch_of(126) == std::pair<int64_t, int64_t>(126, 126));
  EpochPlan plan(lengths, 5, {.batch_tokens = 100, .group_by_length = false});
  std::set<int64_t> counts;
  for (int epoch = 4; epoch >= 0; --epoch) {  // backwards, too
    const int64_t begin = epoch ? plan.steps(epoch) : 0, end = plan.steps(epoch + 1);
    CHECK(plan.epoch_of(begin) == std::pair(begin, end - begin));
    CHECK(plan.epoch_of(end - 1) == std::pair(begin, end - begin));
    counts.insert(end - begin);
  }
  CHECK(counts.size() > 1);
}

TEST_CASE("length groups: batches have batch_size examples of about one length, in no order of length") {
  const std::vector<int32_t> lengths = lengths_of(8 * 500 + 3);
  EpochPlan grouped(lengths, 1, {.batch_size = 8}), plain(lengths, 1, {.batch_size = 8, .group_by_length = false});
  CHECK(grouped.steps_per_epoch() == 501);
  const Batches batches = batches_of(grouped, 0, 501);
  CHECK(std::count_if(batches.begin(), batches.end(), [](const auto& batch) { return batch.size() == 8; }) == 500);
  CHECK(padding(batches, lengths) < 0.03);
  CHECK(padding(batches_of(plain, 0, 501), lengths) > 0.5);
  int rising = 0;  // of 500 neighbours about half
  for (size_t i = 1; i < batches.size(); ++i)
    rising += tokens_of(batches[i], lengths) > tokens_of(batches[i - 1], lengths);
  CHECK(rising > 200);
  CHECK(rising < 300);
  CHECK(grouped.steps(2.5) == 1253);
}

TEST_CASE("length groups: a batch holds at most the budget of tokens, and could not hold its next example") {
  std::vector<int32_t> lengths = lengths_of(2000);
  lengths[77] = 500;  // alone longer than the budget
  for (const bool group : {false, true}) {
    EpochPlan plan(lengths, 2, {.batch_tokens = 256, .group_by_length = group});
    const Batches batches = batches_of(plan, 0, plan.steps_per_epoch());
    CHECK(holds_each_once(batches, lengths.size()));
    int64_t over = 0;
    for (const std::vector<int32_t>& batch : batches)
      if (tokens_of(batch, lengths) > 256) over += batch == std::vector<int32_t>{77} ? 1 : 100;
    CHECK(over == 1);
    // Two neighbouring batches do not fit together, so there are less than twice the least batches.
    const int64_t total = std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
    CHECK(plan.steps_per_epoch() * 256 < total * 5 / 4);
  }
  // Epochs differ by a few steps, and none of them is lost. The third begins where two have ended.
  EpochPlan plan(lengths, 2, {.batch_tokens = 256});
  CHECK(holds_each_once(batches_of(plan, plan.steps(2), plan.steps(3)), lengths.size()));
  const int64_t half = plan.steps(2.5);
  CHECK(half > plan.steps(2));
  CHECK(half < plan.steps(3));
}

TEST_CASE("length groups: without shuffling examples come in their order; one example; none") {
  const std::vector<int32_t> lengths{9, 2, 7, 3, 5};
  EpochPlan plan(lengths, 1, {.batch_size = 2, .shuffle = false});
  const Batches expected{{0, 1}, {2, 3}, {4}};
  CHECK(batches_of(plan, 0, 3) == expected);
  CHECK(batches_of(plan, 3, 6) == expected);
  EpochPlan by_tokens(lengths, 1, {.batch_tokens = 10, .shuffle = false});
  CHECK(batches_of(by_tokens, 0, 3) == Batches{{0}, {1, 2}, {3, 4}});
  EpochPlan one({4}, 1, {.batch_size = 8});
  CHECK(batches_of(one, 0, 3) == Batches{{0}, {0}, {0}});
  CHECK_THROWS_WITH_AS(EpochPlan({}, 1, {}), "there is no example to train on", Error);
}

TEST_CASE("epochs: an example comes as often as its share says") {
  const std::vector<int32_t> lengths = lengths_of(90);
  std::vector<float> shares(90, 1);
  for (size_t i = 0; i < 30; ++i) shares[i] = 2.5f;
  for (size_t i = 30; i < 60; ++i) shares[i] = 0.3f;
  shares[89] = 0;
  for (const bool shuffle : {true, false}) {
    EpochPlan plan(lengths, 7, {.batch_size = 8, .shuffle = shuffle}, shares);
    const int64_t steps = plan.steps_per_epoch();
    CHECK(steps == (75 + 9 + 29 + 7) / 8);
    std::vector<int> total(90);
    constexpr int epochs = 200;
    for (int epoch = 0; epoch < epochs; ++epoch) {
      std::vector<int> seen(90);
      for (const auto& batch : batches_of(plan, epoch * steps, (epoch + 1) * steps))
        for (const int32_t i : batch) ++seen[static_cast<size_t>(i)];
      CHECK(std::accumulate(seen.begin(), seen.end(), 0) == 75 + 9 + 29);
      for (size_t i = 0; i < 90; ++i) {
        // Never more than one away from the share.
        CHECK(std::abs(static_cast<float>(seen[i]) - shares[i]) < 1);
        total[i] += seen[i];
      }
    }
    for (size_t i = 0; i < 90; ++i)
      CHECK(std::abs(static_cast<float>(total[i]) / epochs - shares[i]) < 0.15f);  // 4 standard deviations
  }
  // Epochs differ, and each is a function of the seed and its number alone.
  EpochPlan one(lengths, 7, {.batch_size = 8}, shares), other(lengths, 7, {.batch_size = 8}, shares);
  const int64_t steps = one.steps_per_epoch();
  CHECK(batches_of(one, 0, steps) != batches_of(one, steps, 2 * steps));
  CHECK(batches_of(one, steps, 2 * steps) == batches_of(other, steps, 2 * steps));
  // Shares of 1 are the plan without shares.
  EpochPlan plain(lengths, 7, {.batch_size = 8}), ones(lengths, 7, {.batch_size = 8}, std::vector<float>(90, 1));
  CHECK(batches_of(plain, 0, 24) == batches_of(ones, 0, 24));
  CHECK_THROWS_AS(EpochPlan(lengths, 7, {}, std::vector<float>(90, 0)), Error);
}

}  // namespace engine::test::test_length_groups
