#include "training/training_step.h"

#include <array>
#include <cmath>

namespace engine {

bool StepResult::is_finite() const { return std::isfinite(loss()) && std::isfinite(gradient_norm); }

TrainingStep::TrainingStep(Machine& machine, Parameters& parameters, const TrainingConfig& config, uint64_t seed,
                           bool measures_norm)
    : machine_(machine),
      parameters_(parameters),
      config_(config),
      seed_(seed),
      measures_norm_(measures_norm),
      optimizer_(machine.ops, parameters, config, machine.compute),
      most_tokens_(tokens_at_once(parameters)) {}

StepResult TrainingStep::run(BatchLoss& loss, const SequenceBatch& batch, int64_t draw, int64_t update,
                             float learning_rate) {
  StepResult result{.weight = batch.weight(), .tokens = batch.tokens_of(0, batch.sequences())};
  if (result.weight == 0) return result;
  Communicator& ranks = machine_.communicator;
  Gradients& gradients = parameters_.gradients();
  const ArenaScope scope(machine_.arena);
  const Tensor totals = machine_.arena.make_zeros(DType::f32, {3});
  const Run run{.ops = machine_.ops,
                .arena = machine_.arena,
                .compute = machine_.compute,
                .recompute = config_.recompute,
                .gradients = &gradients};
  const auto start_sums = [&] {
    gradients.expect([&](const Parameter& parameter) { optimizer_.start_sum(parameter, ranks); });
  };
  const auto [begin, end] = sequences_of_rank(batch, ranks);
  if (begin == end) start_sums();
  for (int64_t first = begin, last; first < end; first = last) {
    last = micro_batch_end(batch, first, end, config_.micro_batch_size, most_tokens_);
    if (last == end) start_sums();
    Pass pass(run, {}, {.is_active = true, .seed = seed_, .step = static_cast<uint32_t>(draw)});
    loss.run(pass, batch, first, last, 1.0f / static_cast<float>(result.weight), totals);
  }
  gradients.finish();
  ranks.wait();
  // A device starts the update before the host knows the loss and the norm. It leaves the update out where they are not
  // finite.
  const Tensor loss_sum{totals.data, DType::f32, {1}};
  if (measures_norm_) optimizer_.measure_and_update(learning_rate, update, loss_sum);
  else optimizer_.update(learning_rate, update, loss_sum, /*has_norm=*/false);
  std::array<float, 3> sums{};
  machine_.arena.memory().copy_out(sums.data(), totals.data, sizeof sums);
  ranks.sum(sums);
  result.loss_sum = static_cast<double>(sums[0]);
  result.correct = static_cast<double>(sums[2]);
  if (measures_norm_) result.gradient_norm = optimizer_.gradient_norm();
  return result;
}

}  // namespace engine
