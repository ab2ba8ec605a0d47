#include "training/causal_step.h"

#include <algorithm>
#include <array>
#include <functional>

#include "core/hash.h"

namespace engine {

namespace {

Tensor uploaded(Arena& arena, const int32_t* values, size_t count) {
  const Tensor tensor = arena.make(DType::i32, {static_cast<int64_t>(count)});
  arena.memory().copy_in(tensor.data, values, tensor.bytes());
  return tensor;
}

// Room for twice as much as is asked for, and for as much as the batch has room for, so that batches of ragged
// sequences, longer or shorter each time, do not allocate again.
void reserve(std::vector<int32_t>& vector, size_t count, size_t room_of_batch) {
  if (vector.capacity() < count) vector.reserve(std::max(2 * count, room_of_batch));
}

// All that the shapes and addresses of a step follow from, its tensors being made in the same order.
uint64_t shapes_of(const Pass& pass, const LossArgs& args) {
  const std::array<int64_t, 6> sizes{args.tokens.ids.count(), pass.segments.count(), pass.segments.longest,
                                     args.scored_rows.count(), static_cast<int64_t>(pass.arena.used()),
                                     pass.recompute};
  return hash_of({reinterpret_cast<const char*>(sizes.data()), sizeof sizes});
}

}  // namespace

CausalStep::CausalStep(Model& model, float label_smoothing)
    : model_(model), label_smoothing_(label_smoothing), saved_(model.make_saved()) {}

LossArgs CausalStep::upload(Pass& pass, const SequenceBatch& batch, int64_t first, int64_t last) {
  require(0 <= first && first < last && last <= batch.sequences(), "sequences ", first, " to ", last, " of a batch of ",
          batch.sequences());
  const int32_t begin = batch.offsets[static_cast<size_t>(first)], end = batch.offsets[static_cast<size_t>(last)];
  const size_t count = static_cast<size_t>(end - begin);
  for (std::vector<int32_t>* vector : {&positions_, &scored_rows_, &labels_}) {
    vector->clear();
    reserve(*vector, count, batch.tokens.capacity());
  }
  offsets_.clear();
  reserve(offsets_, static_cast<size_t>(last - first) + 1, batch.offsets.capacity());
  offsets_.push_back(0);
  int32_t longest = 0;
  for (int64_t s = first; s < last; ++s) {
    const int32_t from = batch.offsets[static_cast<size_t>(s)], to = batch.offsets[static_cast<size_t>(s + 1)];
    for (int32_t i = from; i < to; ++i) {
      positions_.push_back(i - from);
      const int32_t label = batch.labels[static_cast<size_t>(i)];
      if (label == -100) continue;
      scored_rows_.push_back(i - begin);
      labels_.push_back(label);
    }
    offsets_.push_back(to - begin);
    longest = std::max(longest, to - from);
  }
  require(longest <= model_.config().max_positions, "a sequence has ", longest, " tokens, the model ",
          model_.config().max_positions, " positions");
  pass.segments = Segments::packed(uploaded(pass.arena, offsets_.data(), offsets_.size()), longest);
  return {.tokens = {.ids = uploaded(pass.arena, batch.tokens.data() + begin, count),
                     .positions = uploaded(pass.arena, positions_.data(), count)},
          .scored_rows = uploaded(pass.arena, scored_rows_.data(), scored_rows_.size()),
          .labels = uploaded(pass.arena, labels_.data(), labels_.size())};
}

void CausalStep::run(Pass& pass, const SequenceBatch& batch, int64_t first, int64_t last, float gradient_scale,
                     const Tensor& totals) {
  const ArenaScope scope(pass.arena);
  LossArgs args = upload(pass, batch, first, last);
  if (labels_.empty()) return;
  args.totals = totals;
  args.gradient_scale = gradient_scale;
  args.label_smoothing = label_smoothing_;
  const auto work = [&] { model_loss(pass, model_, args, *saved_); };
  pass.ops.run_captured(shapes_of(pass, args), std::ref(work));
}

LossTotals CausalStep::evaluate(Machine& machine, const SequenceBatch& batch, std::vector<float>* row_losses) {
  LossTotals sums;
  if (row_losses) row_losses->clear();
  const int64_t most_tokens = tokens_at_once(model_.parameters());
  for (int64_t first = 0, last; first < batch.sequences(); first = last) {
    last = micro_batch_end(batch, first, 0, most_tokens);
    const ArenaScope scope(machine.arena);
    Pass pass{.ops = machine.ops, .arena = machine.arena, .compute = machine.compute};
    LossArgs args = upload(pass, batch, first, last);
    if (labels_.empty()) continue;
    args.gradients = false;
    args.totals = machine.arena.make_zeros(DType::f32, {3});
    if (row_losses) args.row_losses = machine.arena.make(DType::f32, {args.labels.count()});
    model_loss(pass, model_, args, *saved_);
    std::array<float, 3> totals{};
    machine.arena.memory().copy_out(totals.data(), args.totals.data, sizeof totals);
    sums.loss += static_cast<double>(totals[0]);
    sums.scored += static_cast<double>(totals[1]);
    sums.correct += static_cast<double>(totals[2]);
    if (!row_losses) continue;
    const size_t before = row_losses->size();
    row_losses->resize(before + labels_.size());
    machine.arena.memory().copy_out(row_losses->data() + before, args.row_losses.data, args.row_losses.bytes());
  }
  return sums;
}

}  // namespace engine
