// How parameters are divided among ranks and virtual shards, what each rank holds, and when gradients travel.
#include "training/shards.h"

#include <doctest/doctest.h>

#include <numeric>

#include "tests/training_task.h"
#include "training/training_step.h"

namespace engine::test::test_shards {

namespace {

// One of several ranks that all have the same numbers, and count what they exchange.
class AlikeRanks final : public Communicator {
 public:
  using Communicator::gather;

  AlikeRanks(int rank, int size) { rank_ = rank, size_ = size; }
  void start_sum(std::span<float>, SumOrder order) override { ++sums, by_tree += order == SumOrder::tree; }
  void start_reduce_scatter(std::span<float>, std::span<const int64_t> begins, SumOrder order) override {
    ++scattered, by_tree += order == SumOrder::tree;
    CHECK(std::ssize(begins) == size_ + 1);
  }
  void start_all_gather(std::span<std::byte>, std::span<const int64_t>) override { ++gathered; }
  std::vector<float> gather(const std::vector<float>& own) override {
    std::vector<float> all;
    for (int i = 0; i < size_; ++i) all.insert(all.end(), own.begin(), own.end());
    return all;
  }

  int64_t sums = 0, scattered = 0, gathered = 0, by_tree = 0;
};

// Notes how many exchanges have begun when a backward pass returns.
class WatchedLoss final : public BatchLoss {
 public:
  WatchedLoss(BatchLoss& inner, const AlikeRanks& ranks) : inner_(inner), ranks_(ranks) {}
  void run(Pass& pass, const SequenceBatch& batch, int64_t first, int64_t last, float gradient_scale,
           const Tensor& totals) override {
    inner_.run(pass, batch, first, last, gradient_scale, totals);
    begun.push_back(ranks_.sums + ranks_.scattered);
  }
  std::vector<int64_t> begun;

 private:
  BatchLoss& inner_;
  const AlikeRanks& ranks_;
};

Parameters odd_parameters() {
  Parameters parameters;
  for (const auto& [name, shape] : std::initializer_list<std::pair<const char*, Shape>>{
           {"a", {301, 33}}, {"b", {1}}, {"c", {127}}, {"d", {129}}, {"e", {64, 64}}, {"f", {7, 11, 13}}})
    parameters.add(name, shape, Initial::zeros());
  return parameters;
}

size_t state_bytes(const std::vector<StateTensor>& state) {
  return std::accumulate(state.begin(), state.end(), size_t{0},
                         [](size_t sum, const StateTensor& tensor) { return sum + tensor.tensor.bytes(); });
}

}  // namespace

TEST_CASE("shards: every element is of one rank, whatever divides what, and ranks have about as many") {
  const Parameters parameters = odd_parameters();
  for (const int64_t virtual_shards : {0, 8, 64})
    for (const int size : {2, 3, 4, 8, 40}) {
      if (virtual_shards % size != 0) continue;
      CAPTURE(virtual_shards);
      CAPTURE(size);
      TrainingConfig config;
      config.shard_optimizer = true;
      config.reduction_shards = virtual_shards;
      std::vector<int64_t> elements, places(parameters.size(), 0);
      for (int rank = 0; rank < size; ++rank) {
        AlikeRanks ranks(rank, size);
        const Shards shards(parameters, config, &ranks);
        CHECK(shards.is_divided());
        int64_t& sum = elements.emplace_back(0);
        for (const Parameter& p : parameters.all()) {
          CHECK(shards.begin(p) == places[p.index]);
          CHECK(shards.begins_of_ranks(p, 4)[static_cast<size_t>(rank)] == 4 * shards.begin(p));
          CHECK((shards.begin(p) % TouchedBlocks::block == 0 || shards.begin(p) == p.shape.count()));
          places[p.index] = shards.end(p);
          sum += shards.end(p) - shards.begin(p);
        }
      }
      for (const Parameter& p : parameters.all()) CHECK(places[p.index] == p.shape.count());
      const auto [least, most] = std::minmax_element(elements.begin(), elements.end());
      CHECK(*most - *least <= 2 * TouchedBlocks::block * std::max<int64_t>(1, virtual_shards / size));
    }
}

TEST_CASE("shards: with virtual shards fewer ranks have the parts of more ranks, one behind the other") {
  const Parameters parameters = odd_parameters();
  TrainingConfig config;
  config.shard_optimizer = true;
  config.reduction_shards = 8;
  for (int rank = 0; rank < 2; ++rank) {
    AlikeRanks two(rank, 2), first(4 * rank, 8), last(4 * rank + 3, 8);
    const Shards shards(parameters, config, &two);
    for (const Parameter& p : parameters.all()) {
      CHECK(shards.begin(p) == Shards(parameters, config, &first).begin(p));
      CHECK(shards.end(p) == Shards(parameters, config, &last).end(p));
    }
  }
}

TEST_CASE("shards: a rank of four holds a quarter of the moments, the averages and the slow weights") {
  Config config = tiny_config(quick_place(), "unused");
  config.training.swa_start = 1;
  config.training.lookahead_every = 1;
  const std::unique_ptr<Ops> ops = make_cpu_ops();
  TinyTask task(config, *ops);
  const size_t whole = static_cast<size_t>(task.parameters().count()) * sizeof(float);
  const Optimizer alone(*ops, task.parameters(), config.training, DType::f32);
  CHECK(state_bytes(alone.state()) == 2 * whole);
  config.training.shard_optimizer = true;
  size_t moments = 0, averages = 0;
  for (int rank = 0; rank < 4; ++rank) {
    AlikeRanks ranks(rank, 4);
    const Optimizer optimizer(*ops, task.parameters(), config.training, DType::f32, &ranks);
    const Averaging averaging(*ops, task.parameters(), config.training, optimizer.shards());
    const size_t of_rank = state_bytes(optimizer.state());
    CHECK(of_rank < 2 * whole / 4 + 4096);
    moments += of_rank;
    averages += state_bytes(averaging.state());
  }
  CHECK(moments == 2 * whole);
  CHECK(averages == 2 * whole);
}

TEST_CASE("shards: gradients travel while the last backward pass runs, divided or not, with virtual shards or not") {
  for (const bool divided : {false, true})
    for (const int64_t virtual_shards : {0, 4}) {
      CAPTURE(divided);
      CAPTURE(virtual_shards);
      Config config = tiny_config(quick_place(), "unused");
      config.training.shard_optimizer = divided;
      config.training.reduction_shards = virtual_shards;
      config.training.micro_batch_size = 1;
      const ThreadScope threads(1);
      OwnMachine own(DType::f32, size_t{1} << 28);
      AlikeRanks ranks(1, 2);
      Machine machine{.ops = *own.ops, .arena = own.arena, .compute = DType::f32, .communicator = ranks};
      TinyTask task(config, *own.ops);
      TrainingStep step(machine, task.parameters(), config.training, 1);
      WatchedLoss loss(task.loss(), ranks);
      SequenceBatch batch;
      task.batch_of(0, batch);
      step.run(loss, batch, 0, 1, 1e-3f);
      const auto parameters = static_cast<int64_t>(task.parameters().size());
      REQUIRE(loss.begun.size() > 1);
      CHECK(loss.begun.back() == parameters);
      for (size_t i = 0; i + 1 < loss.begun.size(); ++i) CHECK(loss.begun[i] == 0);
      // The sums of the loss are one more, and so are the rows that the last micro-batch looks up in the tied table.
      const int64_t rows = virtual_shards ? 0 : 1;
      CHECK(ranks.scattered == (divided ? parameters : 0));
      CHECK(ranks.sums == 1 + rows + (divided ? 0 : parameters));
      CHECK(ranks.gathered == (divided ? parameters : 0));
      CHECK(ranks.by_tree == (virtual_shards ? 1 + parameters : 0));
    }
}

TEST_CASE("virtual shards: what cannot be cut so is refused by name") {
  Config config = tiny_config(quick_place(), "unused");
  const auto refused = [&](int64_t shards, int ranks, const char* text) {
    config.training.reduction_shards = shards;
    CHECK_THROWS_WITH_AS(check_reduction_shards(config.training, AlikeRanks(0, ranks)), text, UsageError);
  };
  refused(6, 1, "training.reduction_shards is 6: a power of two is right, such as 8");
  refused(8, 3, "training.reduction_shards is 8, which 3 ranks cannot share equally: these numbers of ranks can: "
                "1, 2, 4, 8");
  refused(16, 2, "training.reduction_shards is 16, and training.batch_size 8: a step needs a sequence for each shard "
                 "at least");
  config.training.batch_tokens = 100;
  check_reduction_shards(config.training, AlikeRanks(0, 2));
}

}  // namespace engine::test::test_shards
