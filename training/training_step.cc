#include "training/training_step.h"

#include <array>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <utility>

#include "kernels/observe/wrapped_ops.h"

namespace engine {

namespace {

// Runs nothing, but copies that weights keep are made, for they stay.
class ReservingOps final : public WrappedOps<ReservingOps> {
 public:
  explicit ReservingOps(Ops& ops) : ops_(ops) {}
  Memory& memory() override { return ops_.memory(); }
  size_t packed_bytes(int64_t k, int64_t n, DType compute) override { return ops_.packed_bytes(k, n, compute); }
  bool reads_unpacked() const override { return ops_.reads_unpacked(); }

  template <class Args>
  void run(const char*, const Args& args, void (Ops::*method)(const Args&)) {
    if constexpr (std::is_same_v<Args, PackArgs>) (ops_.*method)(args);
  }

 private:
  Ops& ops_;
};

// A step's numbers on the device.
struct Numbers {
  std::array<float, 3> sums;  // loss, weight and correct
  float norm_squared;
};

// Returns the virtual shards of each rank, or 1 where there are none.
int64_t shards_of_rank(const TrainingConfig& config, const Communicator& ranks) {
  check_reduction_shards(config, ranks);
  return config.reduction_shards > 0 ? config.reduction_shards / ranks.size() : 1;
}

}  // namespace

bool StepResult::is_finite() const { return std::isfinite(loss()) && std::isfinite(gradient_norm); }

TrainingStep::TrainingStep(Machine& machine, Parameters& parameters, const TrainingConfig& config, uint64_t seed,
                           bool measures_norm)
    : machine_(machine),
      parameters_(parameters),
      config_(config),
      seed_(seed),
      measures_norm_(measures_norm),
      optimizer_(machine.ops, parameters, config, machine.compute, &machine.communicator),
      sums_(machine.ops, optimizer_, shards_of_rank(config, machine.communicator)),
      lookups_(machine, optimizer_, config),
      most_tokens_(tokens_at_once(parameters)) {
  for (Started& step : steps_) step.numbers = machine.ops.memory().make_readback(sizeof(Numbers));
}

StepResult TrainingStep::run(BatchLoss& loss, const SequenceBatch& batch, int64_t draw, int64_t update,
                             float learning_rate) {
  start(loss, batch, draw, update, learning_rate);
  return finish();
}

void TrainingStep::reserve(BatchLoss& loss, const SequenceBatch& batch) {
  ReservingOps nothing(machine_.ops);
  int64_t longest = -1, longest_begin = 0, longest_end = 0;
  for (int64_t shard = 0; shard < sums_.shards(); ++shard) {
    const auto [begin, end] = sequences_of_shard(batch, shard);
    for (int64_t first = begin, last; first < end; first = last) {
      last = micro_batch_end(batch, first, end, config_.micro_batch_size, most_tokens_);
      if (batch.scored(first, last) == 0 || batch.tokens_of(first, last) <= longest) continue;
      longest = batch.tokens_of(first, last);
      longest_begin = first;
      longest_end = last;
    }
  }
  lookups_.reserve(batch);
  if (longest < 0) return;
  const ArenaScope scope(machine_.arena);
  const Tensor totals = machine_.arena.make(DType::f32, {3});
  Pass pass(Run{.ops = nothing,
                .arena = machine_.arena,
                .compute = machine_.compute,
                .recompute = config_.recompute,
                .gradients = &parameters_.gradients()},
            {}, {.is_active = true, .seed = seed_});
  loss.run(pass, batch, longest_begin, longest_end, /*gradient_scale=*/1, totals);
}

void TrainingStep::start(BatchLoss& loss, const SequenceBatch& batch, int64_t draw, int64_t update,
                         float learning_rate) {
  require(started_ < static_cast<int64_t>(steps_.size()), "a third step is started before the first is finished");
  Started& started = steps_[(oldest_ + static_cast<size_t>(started_)) % steps_.size()];
  StepResult& result = started.result;
  result = {.weight = batch.weight(), .tokens = batch.tokens_of(0, batch.sequences())};
  if (result.weight == 0) {
    ++started_;
    return;
  }
  Communicator& ranks = machine_.communicator;
  Gradients& gradients = parameters_.gradients();
  lookups_.begin(batch);
  const ArenaScope scope(machine_.arena);
  const Tensor totals = machine_.arena.make_zeros(DType::f32, {3});
  const Run run{.ops = machine_.ops,
                .arena = machine_.arena,
                .compute = machine_.compute,
                .recompute = config_.recompute,
                .gradients = &gradients};
  const DropoutStream stream{.is_active = true, .seed = seed_, .step = static_cast<uint32_t>(draw)};
  for (int64_t shard = 0; shard < sums_.shards(); ++shard) {
    run_shard(loss, batch, shard, Pass(run, {}, stream), 1.0f / static_cast<float>(result.weight), totals);
    if (shard + 1 < sums_.shards()) sums_.put_away(shard, totals);
  }
  gradients.finish();
  lookups_.start();
  sums_.complete_totals(totals);
  ranks.start_sum(std::span(totals.as<float>(), 3), sum_order(config_));
  ranks.wait();
  lookups_.finish();
  // A device starts the update before the host knows the loss and the norm. It leaves the update out where they are not
  // finite.
  const Tensor loss_sum{totals.data, DType::f32, {1}};
  if (measures_norm_) optimizer_.measure_and_update(learning_rate, update, loss_sum);
  else optimizer_.update(learning_rate, update, loss_sum, /*has_norm=*/false);
  const Tensor& norm_squared = optimizer_.norm_squared();
  started.numbers->start({{totals.data, totals.bytes()}, {norm_squared.data, norm_squared.bytes()}});
  ++started_;
}

std::pair<int64_t, int64_t> TrainingStep::sequences_of_shard(const SequenceBatch& batch, int64_t shard) const {
  const Communicator& ranks = machine_.communicator;
  return sequences_of_part(batch, ranks.rank() * sums_.shards() + shard, sums_.shards() * ranks.size());
}

// Runs one of this rank's virtual shards, or its whole share. The gradients of the last one are complete then, and
// travel as soon as they are.
void TrainingStep::run_shard(BatchLoss& loss, const SequenceBatch& batch, int64_t shard, const Pass& pass,
                             float gradient_scale, const Tensor& totals) {
  const auto [begin, end] = sequences_of_shard(batch, shard);
  const auto start_sums = [&] {
    if (shard + 1 < sums_.shards()) return;
    parameters_.gradients().expect([&](const Parameter& parameter) {
      sums_.complete(parameter);
      if (lookups_.takes(parameter)) optimizer_.start_sum_of_blocks(parameter);
      else optimizer_.start_sum(parameter);
    });
  };
  if (begin == end) start_sums();
  for (int64_t first = begin, last; first < end; first = last) {
    last = micro_batch_end(batch, first, end, config_.micro_batch_size, most_tokens_);
    if (last == end) start_sums();
    Pass slice = pass;
    loss.run(slice, batch, first, last, gradient_scale, totals);
  }
}

StepResult TrainingStep::finish() {
  require(started_ > 0, "no step is started that could be finished");
  Started& started = steps_[oldest_];
  oldest_ = (oldest_ + 1) % steps_.size();
  const int64_t later = std::exchange(started_, 0);  // dropped where this one ends in an error, or is not finite
  StepResult result = started.result;
  if (result.weight != 0) {
    read(started, result);
    if (!result.is_finite()) {
      optimizer_.go_on();
      return result;
    }
  }
  started_ = later - 1;
  return result;
}

void TrainingStep::read(Started& started, StepResult& result) {
  Numbers numbers{};
  std::memcpy(&numbers, started.numbers->wait(), sizeof numbers);
  result.loss_sum = static_cast<double>(numbers.sums[0]);
  result.correct = static_cast<double>(numbers.sums[2]);
  if (measures_norm_) result.gradient_norm = std::sqrt(numbers.norm_squared);
}

}  // namespace engine
