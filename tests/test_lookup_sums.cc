// Gradients of tables of tokens travel by the rows that a step names, and trainings are those of one rank.
#include "training/lookup_sums.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>

#include "core/parallel.h"
#include "core/random.h"
#include "kernels/observe/wrapped_ops.h"
#include "models/architectures.h"
#include "models/tied_options.h"
#include "tests/machine.h"
#include "tests/rank_threads.h"
#include "training/loss_step.h"
#include "training/training_step.h"

namespace engine::test::test_lookup_sums {

namespace {

constexpr int64_t vocabulary = 150, width = 36;
constexpr int32_t thought = 25;

struct Kind {
  const char* architecture;
  bool is_tied;
  bool thinks = false;  // a backward pass has several parts
};

ModelConfig model_of(const Kind& kind) {
  ModelConfig config = open_model();
  config.architecture = kind.architecture;
  config.hidden_size = width, config.num_layers = 2, config.num_heads = 2, config.max_positions = 16;
  config.vocab_size = vocabulary;
  config.dropout = kind.thinks ? 0 : 0.1f;  // chunks between thoughts draw by their place in a micro-batch
  config.initializer_range = 0.2f;
  if (architecture_of(config).kind == ModelKind::encoder) config.head = HeadKind::masked;
  set_tied_embeddings(config, kind.is_tied);
  config.thought_states = kind.thinks;
  if (kind.thinks) config.thought_token = thought;
  return config;
}

TrainingConfig training_config() {
  TrainingConfig config;
  config.adam_epsilon = 1e-2f;  // far above the rounding of gradients
  config.max_grad_norm = 0.5f;
  config.batch_size = 8;
  return config;
}

// Draws sequences of the tokens first ... first+named-1, many of which come several times.
SequenceBatch batch_of(const Kind& kind, uint64_t seed, int64_t sequences, int32_t first, uint32_t named) {
  Random random(seed, 0);
  const auto token = [&] { return first + static_cast<int32_t>(random.below(named)); };
  SequenceBatch batch;
  for (int64_t s = 0; s < sequences; ++s) {
    for (uint32_t i = 0, length = 4 + random.below(9); i < length; ++i) {
      batch.tokens.push_back(i == 2 ? batch.tokens.back() : token());
      if (i == 0 && batch.tokens.back() == thought) ++batch.tokens.back();
      batch.targets.labels.push_back(i == 1 ? -100 : static_cast<int32_t>(random.below(vocabulary)));
      if (std::string(kind.architecture) == "bart") batch.sources.push_back(token());
    }
    batch.end_sequence();
  }
  return batch;
}

// The second has fewer sequences than there are ranks, and the third names most of the table.
std::vector<SequenceBatch> batches_of(const Kind& kind) {
  return {batch_of(kind, 1, 8, 20, 30), batch_of(kind, 2, 2, 0, 40), batch_of(kind, 3, 24, 0, vocabulary),
          batch_of(kind, 4, 8, 100, 50)};
}

int64_t named_in(const SequenceBatch& batch) {
  std::set<int32_t> named(batch.tokens.begin(), batch.tokens.end());
  named.insert(batch.sources.begin(), batch.sources.end());
  return std::ssize(named);
}

struct Trained {
  std::vector<double> numbers;          // loss and norm of each step
  std::vector<std::vector<float>> values;  // of each parameter
  std::vector<ExchangeSpan> exchanges;  // of the last step
  int64_t elements = 0;
};

Trained train(Communicator& ranks, const Kind& kind, const TrainingConfig& config,
              const std::vector<SequenceBatch>& batches) {
  OwnMachine own(DType::f32, size_t{1} << 28);
  Machine machine{.ops = *own.ops, .arena = own.arena, .compute = DType::f32, .communicator = ranks};
  machine.reduction_shards = config.reduction_shards;
  const std::unique_ptr<Model> model = make_model(model_of(kind));
  model->parameters().allocate(own.ops->memory(), true);
  model->parameters().initialise(3);
  TrainingStep step(machine, model->parameters(), config, 1);
  LossStep loss(*model);
  Trained trained;
  for (size_t i = 0; i < batches.size(); ++i) {
    static_cast<void>(ranks.take_exchanges());
    const auto number = static_cast<int64_t>(i);
    const StepResult result = step.run(loss, batches[i], number, number + 1, 0.05f);
    trained.numbers.insert(trained.numbers.end(), {result.loss(), static_cast<double>(result.gradient_norm)});
  }
  trained.exchanges = ranks.take_exchanges();
  for (const Parameter& p : model->parameters().all())
    trained.values.emplace_back(p.value.as<float>(), p.value.as<float>() + p.value.count());
  trained.elements = model->parameters().count();
  return trained;
}

std::vector<Trained> train_as_ranks(int size, const Kind& kind, const TrainingConfig& config,
                                    const std::vector<SequenceBatch>& batches) {
  std::vector<Trained> all(static_cast<size_t>(size));
  as_ranks(size, [&](Communicator& ranks) {
    all[static_cast<size_t>(ranks.rank())] = train(ranks, kind, config, batches);
  });
  return all;
}

// Checks losses, norms and parameters to rounding.
void check_same(const Trained& one, const Trained& other) {
  REQUIRE(one.numbers.size() == other.numbers.size());
  for (size_t i = 0; i < one.numbers.size(); ++i)
    CHECK(other.numbers[i] == doctest::Approx(one.numbers[i]).epsilon(1e-5));
  double farthest = 0;
  for (size_t p = 0; p < one.values.size(); ++p)
    for (size_t i = 0; i < one.values[p].size(); ++i) {
      const double difference = std::abs(static_cast<double>(one.values[p][i] - other.values[p][i]));
      if (!(difference <= farthest)) farthest = difference;  // a NaN stays
    }
  CHECK(farthest < 2e-5);  // a step goes 0.05 where the gradient is large
}

size_t bytes_of(const std::vector<ExchangeSpan>& exchanges, const std::string& name) {
  size_t bytes = 0;
  for (const ExchangeSpan& exchange : exchanges)
    if (exchange.name == name) bytes += exchange.bytes;
  return bytes;
}

struct OneThread {
  OneThread() { set_threads(1); }
  ~OneThread() { set_threads(0); }
};

constexpr Kind kinds[] = {{"gpt2", true}, {"gpt2", false}, {"gpt_neox", false},          {"bert", true},
                          {"bart", true}, {"bart", false}, {"sinusoidal_encoder", false}, {"lstm", true},
                          {"gpt2", true, /*thinks=*/true}};

}  // namespace

TEST_CASE("lookup sums: ranks train as one does, tied or not, in micro-batches, and with a rank that has no tokens") {
  const OneThread threads;
  for (const Kind& kind : kinds)
    for (const int64_t micro_batch : {0, 2}) {
      CAPTURE(std::string(kind.architecture));
      CAPTURE(kind.is_tied);
      CAPTURE(kind.thinks);
      CAPTURE(micro_batch);
      TrainingConfig config = training_config();
      config.micro_batch_size = micro_batch;
      const std::vector<SequenceBatch> batches = batches_of(kind);
      Communicator alone;
      const Trained one = train(alone, kind, config, batches);
      for (const int size : {2, 3}) {
        CAPTURE(size);
        const std::vector<Trained> all = train_as_ranks(size, kind, config, batches);
        for (const Trained& rank : all) {
          CHECK(rank.values == all[0].values);
          CHECK(rank.numbers == all[0].numbers);
        }
        check_same(one, all[0]);
      }
    }
}

TEST_CASE("lookup sums: a shared optimizer, clipping of each gradient and frozen tables are as with one rank") {
  const OneThread threads;
  for (const Kind& kind : {kinds[0], kinds[1], kinds[3], kinds[5]})
    for (const bool is_divided : {false, true})
      for (const bool is_frozen : {false, true}) {
        CAPTURE(std::string(kind.architecture));
        CAPTURE(kind.is_tied);
        CAPTURE(is_divided);
        CAPTURE(is_frozen);
        TrainingConfig config = training_config();
        config.max_tensor_norm = 0.05f;
        const std::string side = kind.architecture == std::string("bart") ? "encoder." : "";
        if (is_frozen) config.learning_rate_scales = {side + "embedding.tokens:0"};
        const std::vector<SequenceBatch> batches = batches_of(kind);
        Communicator alone;
        const Trained one = train(alone, kind, config, batches);
        config.shard_optimizer = is_divided;
        check_same(one, train_as_ranks(3, kind, config, batches)[2]);
      }
}

TEST_CASE("lookup sums: virtual shards have the same bits at any number of ranks") {
  const OneThread threads;
  for (const Kind& kind : {kinds[0], kinds[1], kinds[4], kinds[5]}) {
    CAPTURE(std::string(kind.architecture));
    CAPTURE(kind.is_tied);
    TrainingConfig config = training_config();
    config.reduction_shards = 8;
    const std::vector<SequenceBatch> batches = batches_of(kind);
    Communicator alone;
    const Trained one = train(alone, kind, config, batches);
    for (const int size : {2, 4, 8}) {
      CAPTURE(size);
      config.shard_optimizer = size == 4;
      for (const Trained& rank : train_as_ranks(size, kind, config, batches)) {
        CHECK(rank.values == one.values);
        CHECK(rank.numbers == one.numbers);
      }
    }
  }
}

TEST_CASE("lookup sums: the bytes that travel are those of the rows that the step names") {
  const OneThread threads;
  constexpr size_t numbers_of_loss = 3;
  for (const Kind& kind : {kinds[0], kinds[1], kinds[3], kinds[4]}) {
    CAPTURE(std::string(kind.architecture));
    CAPTURE(kind.is_tied);
    const auto sums = [&](const SequenceBatch& batch, const TrainingConfig& config) {
      const Trained rank = train_as_ranks(2, kind, config, {batch})[1];
      return bytes_of(rank.exchanges, "sum") - (static_cast<size_t>(rank.elements) + numbers_of_loss) * sizeof(float);
    };
    TrainingConfig config = training_config();
    const SequenceBatch few = batch_of(kind, 5, 8, 7, 20);
    const int64_t rows = named_in(few), spared = kind.is_tied ? 0 : vocabulary;
    CHECK(2 * rows < vocabulary);
    CHECK(sums(few, config) == static_cast<size_t>(width * (rows - spared)) * sizeof(float));
    // A table of which most rows are named travels as a whole.
    const SequenceBatch many = batch_of(kind, 6, 30, 0, vocabulary);
    CHECK(2 * named_in(many) > vocabulary);
    CHECK(sums(many, config) == 0);
    // With a micro-batch for each sequence, the lookups of the last one alone are kept apart from a tied table.
    if (!kind.is_tied || !few.sources.empty()) continue;
    config.micro_batch_size = 1;
    const auto [first, end] = sequences_of_part(few, 0, 2);
    SequenceBatch last;
    for (const int64_t s : {end - 1, few.sequences() - 1})
      last.tokens.insert(last.tokens.end(), few.tokens.begin() + few.offsets[static_cast<size_t>(s)],
                         few.tokens.begin() + few.offsets[static_cast<size_t>(s) + 1]);
    CHECK(named_in(last) < rows);
    CHECK(sums(few, config) == static_cast<size_t>(width * named_in(last)) * sizeof(float));
  }
}

namespace {

// Events of a step are its operations, by their names, and its exchanges, by how many numbers they are of.
using Events = std::vector<std::string>;

class NotedOps final : public WrappedOps<NotedOps> {
 public:
  NotedOps(Ops& ops, Events& events) : ops_(ops), events_(events) {}
  Memory& memory() override { return ops_.memory(); }
  size_t packed_bytes(int64_t k, int64_t n, DType compute) override { return ops_.packed_bytes(k, n, compute); }
  template <class Args>
  void run(const char* name, const Args& args, void (Ops::*method)(const Args&)) {
    events_.emplace_back(name);
    (ops_.*method)(args);
  }

 private:
  Ops& ops_;
  Events& events_;
};

class NotedRanks final : public Communicator {
 public:
  using Communicator::gather;
  NotedRanks(int rank, int size, Events& events) : events_(events) { rank_ = rank, size_ = size; }
  void start_sum(std::span<float> values, SumOrder) override {
    events_.push_back("exchange of " + std::to_string(values.size()));
  }
  void start_reduce_scatter(std::span<float> values, std::span<const int64_t>, SumOrder order) override {
    start_sum(values, order);
  }
  std::vector<float> gather(const std::vector<float>& own) override {
    std::vector<float> all;
    for (int i = 0; i < size_; ++i) all.insert(all.end(), own.begin(), own.end());
    return all;
  }

 private:
  Events& events_;
};

// Returns the events of a step of one rank of three, which runs alone.
Events events_of(const Kind& kind, int rank, const TrainingConfig& config, const SequenceBatch& batch) {
  Events events;
  OwnMachine own(DType::f32, size_t{1} << 28);
  NotedOps ops(*own.ops, events);
  NotedRanks ranks(rank, 3, events);
  Machine machine{.ops = ops, .arena = own.arena, .compute = DType::f32, .communicator = ranks};
  const std::unique_ptr<Model> model = make_model(model_of(kind));
  model->parameters().allocate(own.ops->memory(), true);
  model->parameters().initialise(3);
  TrainingStep step(machine, model->parameters(), config, 1);
  LossStep loss(*model);
  events.clear();
  step.run(loss, batch, 0, 1, 0.05f);
  return events;
}

std::vector<ptrdiff_t> places_of(const Events& events, const std::string& event) {
  std::vector<ptrdiff_t> places;
  for (auto at = events.begin(); (at = std::find(at, events.end(), event)) != events.end(); ++at)
    places.push_back(at - events.begin());
  return places;
}

Events exchanges_of(Events events) {
  std::erase_if(events, [](const std::string& event) { return !event.starts_with("exchange"); });
  return events;
}

}  // namespace

TEST_CASE("lookup sums: the head's part of a tied table starts to travel before the backward pass of any block") {
  const OneThread threads;
  const std::string of = "exchange of ", table = of + std::to_string(vocabulary * width);
  for (const Kind& kind : {kinds[0], kinds[3], kinds[4]})
    for (const bool is_divided : {false, true}) {
      CAPTURE(std::string(kind.architecture));
      CAPTURE(is_divided);
      TrainingConfig config = training_config();
      config.shard_optimizer = is_divided;
      const SequenceBatch few = batch_of(kind, 5, 8, 7, 20);
      Events events = events_of(kind, 0, config, few);
      std::vector<ptrdiff_t> sums = places_of(events, table), blocks = places_of(events, "attention_backward");
      REQUIRE(sums.size() == 1);
      REQUIRE(blocks.size() >= 2);
      CHECK(sums[0] > places_of(events, "cross_entropy").back());
      CHECK(sums[0] < blocks.front());
      CHECK(exchanges_of(events).front() == table);
      // The rows follow when they are complete, in one more exchange.
      const std::vector<ptrdiff_t> rows = places_of(events, of + std::to_string(named_in(few) * width)),
                                   lookups = places_of(events, "embedding_backward");
      REQUIRE(rows.size() == 1);
      REQUIRE(lookups.size() >= 2);
      CHECK(rows[0] > lookups[lookups.size() - 2]);
      CHECK(rows[0] < lookups.back());  // which adds their sums
      // Only the last of several micro-batches hides an exchange.
      config.micro_batch_size = 1;
      events = events_of(kind, 0, config, few);
      const size_t passes = places_of(events, "cross_entropy").size(), in_all = blocks.size() * passes;
      sums = places_of(events, table), blocks = places_of(events, "attention_backward");
      CHECK(passes > 1);
      CHECK(blocks.size() == in_all);
      CHECK(sums.size() == 1);
      CHECK(sums[0] > blocks[blocks.size() - blocks.size() / passes - 1]);
      CHECK(sums[0] < blocks[blocks.size() - blocks.size() / passes]);
      // A rank without tokens has the same exchanges.
      const SequenceBatch two = batch_of(kind, 2, 2, 0, 40);
      const Events expected = exchanges_of(events_of(kind, 0, config, two));
      CHECK(expected.front() == table);
      for (const int rank : {1, 2}) CHECK(exchanges_of(events_of(kind, rank, config, two)) == expected);
      // A table of which most rows are named travels behind the backward pass.
      config.micro_batch_size = 0;
      events = events_of(kind, 0, config, batch_of(kind, 6, 40, 0, vocabulary));
      sums = places_of(events, table);
      REQUIRE(sums.size() == 1);
      CHECK(sums[0] > places_of(events, "embedding_backward").back());
    }
}

}  // namespace engine::test::test_lookup_sums
