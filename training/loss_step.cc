#include "training/loss_step.h"

#include <array>
#include <cstring>
#include <functional>
#include <type_traits>

#include "core/activity.h"
#include "core/host_copy.h"

namespace engine {

namespace {

// Appends a tensor's elements to `all`: element order[i] as the i-th one, or all as they are.
template <class T>
void append_copy(const Run& run, const Tensor& tensor, std::span<const int32_t> order, std::vector<T>& all) {
  if (!tensor) return;
  const std::vector<T> numbers = host_copy<T>(run.arena.memory(), tensor);
  if (order.empty()) all.insert(all.end(), numbers.begin(), numbers.end());
  for (const int32_t place : order) all.push_back(numbers[static_cast<size_t>(place)]);
}

// Adds up the parts of all ranks in their order, so that the sum does not depend on who had which.
LossTotals sum_over_ranks(const std::vector<LossTotals>& own, Communicator& ranks) {
  static_assert(std::is_trivially_copyable_v<LossTotals>);
  std::vector<char> bytes(own.size() * sizeof(LossTotals));
  std::memcpy(bytes.data(), own.data(), bytes.size());
  const std::vector<char> all = ranks.gather(bytes);
  LossTotals sum;
  for (size_t at = 0; at < all.size(); at += sizeof(LossTotals)) {
    LossTotals one;
    std::memcpy(&one, all.data() + at, sizeof one);
    sum += one;
  }
  return sum;
}

}  // namespace

LossStep::LossStep(Model& model, std::unique_ptr<Objective> objective, std::unique_ptr<BatchRunner> runner)
    : model_(model),
      objective_(std::move(objective)),
      runner_(runner ? std::move(runner) : make_runner(model)) {}

void LossStep::run(Pass& pass, const SequenceBatch& batch, int64_t first, int64_t last, float gradient_scale,
                   const Tensor& totals) {
  const ArenaScope scope(pass.arena);
  const DeviceBatch slice = runner_->send(pass.arena, batch, first, last, pass.stream);
  if (runner_->scored() == 0) return;
  pass.gradients = &model_.parameters().gradients();
  objective_->prepare(pass);
  // gradient_scale belongs to a sum over weights. A mean over all tokens divides by their number instead.
  const auto all_tokens = static_cast<double>(batch.tokens.size());
  const LossRequest request{.totals = totals,
                            .gradient_scale = gradient_scale,
                            .token_scale = static_cast<float>(gradient_scale * batch.weight() / all_tokens)};
  const auto work = [&] { runner_->run(pass, *objective_, slice, request); };
  pass.ops.run_captured(runner_->key() ^ (pass.recompute ? 1 : 0), std::ref(work));
}

LossTotals LossStep::evaluate(Machine& machine, const SequenceBatch& batch, ScoredTokens* each) {
  std::vector<LossTotals> totals;  // of this rank's parts of the batch
  ScoredTokens own;
  const int64_t most_tokens = tokens_at_once(model_.parameters());
  const auto [first_part, last_part] = machine.own_parts();
  const auto sequences_of = [&](int64_t part) { return sequences_of_part(batch, part, machine.parts()); };
  Activity activity("evaluating", "sequences",
                    sequences_of(last_part - 1).second - sequences_of(first_part).first);
  for (int64_t part = first_part; part < last_part; ++part) {
    LossTotals& sum = totals.emplace_back();
    for (auto [first, end] = sequences_of(part); first < end;) {
      const int64_t last = micro_batch_end(batch, first, end, 0, most_tokens);
      activity.add(last - first);
      sum += evaluate_slice(machine, batch, first, last, each, own);
      first = last;
    }
  }
  Communicator& ranks = machine.communicator;
  if (each) {
    each->losses = ranks.gather(own.losses);
    each->ranks = ranks.gather(own.ranks);
    each->likeliest = ranks.gather(own.likeliest);
    each->logits = ranks.gather(own.logits);
  }
  return sum_over_ranks(totals, ranks);
}

LossTotals LossStep::evaluate(Machine& machine, const SequenceBatch& batch, Suspects* suspects,
                              const Suspects::Example& example) {
  if (!suspects) return evaluate(machine, batch);
  ScoredTokens each{.wants_losses = true};
  const LossTotals totals = evaluate(machine, batch, &each);
  suspects->add_sequences(batch, each.losses, example);
  return totals;
}

LossTotals LossStep::evaluate_slice(Machine& machine, const SequenceBatch& batch, int64_t first, int64_t last,
                                    const ScoredTokens* each, ScoredTokens& own) {
  const ArenaScope scope(machine.arena);
  Pass pass(Run{.ops = machine.ops, .arena = machine.arena, .compute = machine.compute, .keep = false});
  const DeviceBatch slice = runner_->send(pass.arena, batch, first, last);
  const int64_t scored = runner_->scored();
  if (scored == 0) return {};
  const auto wanted = [&](bool is_wanted, DType dtype) {
    return is_wanted ? pass.arena.make(dtype, {scored}) : Tensor{};
  };
  const Tensor logits = each && each->wants_logits
                            ? pass.arena.make(DType::f32, {slice.tokens.ids.count(), model_.head().outputs()})
                            : Tensor{};
  const LossRequest request{.totals = pass.arena.make_zeros(DType::f32, {3}),
                            .gradients = false,
                            .row_losses = wanted(each && each->wants_losses, DType::f32),
                            .ranks = wanted(each && each->wants_ranks, DType::i32),
                            .likeliest = wanted(each && each->wants_likeliest, DType::i32),
                            .logits = logits};
  runner_->run(pass, *objective_, slice, request);
  std::array<float, 3> totals{};
  pass.arena.memory().copy_out(totals.data(), request.totals.data, sizeof totals);
  append_copy(pass, request.row_losses, runner_->order(), own.losses);
  append_copy(pass, request.ranks, runner_->order(), own.ranks);
  append_copy(pass, request.likeliest, runner_->order(), own.likeliest);
  append_copy(pass, request.logits, {}, own.logits);
  return {static_cast<double>(totals[0]), static_cast<double>(totals[1]), static_cast<double>(totals[2])};
}

std::vector<int32_t> LossStep::predict(Machine& machine, const SequenceBatch& batch) {
  ScoredTokens each{.wants_likeliest = true};
  evaluate(machine, batch, &each);
  return std::move(each.likeliest);
}

}  // namespace engine
