#include "training/loss_step.h"

#include <algorithm>
#include <array>
#include <functional>

#include "core/hash.h"
#include "core/ranks.h"

namespace engine {

namespace {

Tensor uploaded(Arena& arena, const int32_t* values, size_t count) {
  const Tensor tensor = arena.make(DType::i32, {static_cast<int64_t>(count)});
  arena.memory().copy_in(tensor.data, values, tensor.bytes());
  return tensor;
}

// The elements of a tensor behind those that `all` has.
template <class T>
void append_copy(const Pass& pass, const Tensor& tensor, std::vector<T>& all) {
  const size_t before = all.size();
  all.resize(before + static_cast<size_t>(tensor.count()));
  pass.arena.memory().copy_out(all.data() + before, tensor.data, tensor.bytes());
}

// Room for twice as much as is asked for, and for as much as the batch has room for, so that batches of ragged
// sequences, longer or shorter each time, do not allocate again.
void reserve(std::vector<int32_t>& vector, size_t count, size_t room_of_batch) {
  if (vector.capacity() < count) vector.reserve(std::max(2 * count, room_of_batch));
}

// All that the shapes and addresses of a step follow from, its tensors being made in the same order.
uint64_t shapes_of(const Pass& pass, const LossArgs& args) {
  const Tokens::Source& source = args.tokens.source;
  const std::array<int64_t, 10> sizes{args.tokens.ids.count(), pass.segments.count(), pass.segments.longest,
                                      args.scored_rows.count(), static_cast<int64_t>(pass.arena.used()),
                                      pass.recompute, args.tokens.types ? 1 : 0,
                                      source.ids ? source.ids.count() : 0, source.segments.longest,
                                      args.tokens.asked.segments.longest};
  return hash_of({reinterpret_cast<const char*>(sizes.data()), sizeof sizes});
}

}  // namespace

LossStep::LossStep(Model& model, float label_smoothing)
    : model_(model), label_smoothing_(label_smoothing), saved_(model.make_saved()) {}

Tokens::Source LossStep::upload_row(Pass& pass, const std::vector<int32_t>& tokens, const std::vector<int32_t>& offsets,
                                    int64_t first, int64_t last) {
  const auto f = static_cast<size_t>(first), l = static_cast<size_t>(last);
  const int32_t begin = offsets[f];
  const size_t count = static_cast<size_t>(offsets[l] - begin);
  positions_.clear();
  reserve(positions_, count, tokens.capacity());
  offsets_.clear();
  reserve(offsets_, l - f + 1, offsets.capacity());
  offsets_.push_back(0);
  int32_t longest = 0;
  for (size_t s = f; s < l; ++s) {
    const int32_t length = offsets[s + 1] - offsets[s];
    for (int32_t i = 0; i < length; ++i) positions_.push_back(i);
    offsets_.push_back(offsets[s + 1] - begin);
    longest = std::max(longest, length);
  }
  require(longest <= model_.config().max_positions, "a sequence has ", longest, " tokens, the model ",
          model_.config().max_positions, " positions");
  return {.ids = uploaded(pass.arena, tokens.data() + begin, count),
          .positions = uploaded(pass.arena, positions_.data(), count),
          .segments = Segments::packed(uploaded(pass.arena, offsets_.data(), offsets_.size()), longest)};
}

AskedRows LossStep::ask_for_scored(Pass& pass, const LossArgs& args, const SequenceBatch& batch, int64_t first,
                                   int64_t last) {
  const auto scored_to = [&](int32_t end) {  // rows of the pass
    return static_cast<int32_t>(std::lower_bound(scored_rows_.begin(), scored_rows_.end(), end) - scored_rows_.begin());
  };
  const int32_t begin = batch.offsets[static_cast<size_t>(first)];
  scored_offsets_.clear();
  reserve(scored_offsets_, static_cast<size_t>(last - first + 1), batch.offsets.capacity());
  scored_offsets_.push_back(0);
  int32_t longest = 0;
  for (int64_t s = first; s < last; ++s) {
    scored_offsets_.push_back(scored_to(batch.offsets[static_cast<size_t>(s + 1)] - begin));
    longest = std::max(longest, scored_offsets_.back() - scored_offsets_[scored_offsets_.size() - 2]);
  }
  return {.index = args.scored_rows,
          .segments = Segments::packed(uploaded(pass.arena, scored_offsets_.data(), scored_offsets_.size()), longest),
          .first_row = begin - std::count(batch.labels.begin(), batch.labels.begin() + begin, -100)};
}

LossArgs LossStep::upload(Pass& pass, const SequenceBatch& batch, int64_t first, int64_t last) {
  require(0 <= first && first < last && last <= batch.sequences(), "sequences ", first, " to ", last, " of a batch of ",
          batch.sequences());
  const int32_t begin = batch.offsets[static_cast<size_t>(first)], end = batch.offsets[static_cast<size_t>(last)];
  for (std::vector<int32_t>* vector : {&scored_rows_, &labels_}) {
    vector->clear();
    reserve(*vector, static_cast<size_t>(end - begin), batch.tokens.capacity());
  }
  for (int32_t i = begin; i < end; ++i) {
    const int32_t label = batch.labels[static_cast<size_t>(i)];
    if (label == -100) continue;
    scored_rows_.push_back(i - begin);
    labels_.push_back(label);
  }
  const Tokens::Source row = upload_row(pass, batch.tokens, batch.offsets, first, last);
  pass.segments = row.segments;
  LossArgs args{.tokens = {.ids = row.ids, .positions = row.positions},
                .scored_rows = uploaded(pass.arena, scored_rows_.data(), scored_rows_.size()),
                .labels = uploaded(pass.arena, labels_.data(), labels_.size())};
  // Even where these are all rows: what dropout draws must not depend on how the batch is cut.
  args.tokens.asked = ask_for_scored(pass, args, batch, first, last);
  if (!batch.types.empty())
    args.tokens.types = uploaded(pass.arena, batch.types.data() + begin, static_cast<size_t>(end - begin));
  require(batch.sources.empty() == !model_.reads_source(), batch.sources.empty()
          ? "the model reads a source with every sequence, and the batch has none"
          : "the batch has sources, which the model does not read");
  if (batch.sources.empty()) return args;
  args.tokens.source = upload_row(pass, batch.sources, batch.source_offsets, first, last);
  pass.first_source_row = batch.source_offsets[static_cast<size_t>(first)];
  return args;
}

void LossStep::run(Pass& pass, const SequenceBatch& batch, int64_t first, int64_t last, float gradient_scale,
                     const Tensor& totals) {
  const ArenaScope scope(pass.arena);
  LossArgs args = upload(pass, batch, first, last);
  if (labels_.empty()) return;
  args.totals = totals;
  args.gradient_scale = gradient_scale;
  args.label_smoothing = label_smoothing_;
  args.extra = extra_;
  const auto work = [&] { model_loss(pass, model_, args, *saved_); };
  pass.ops.run_captured(shapes_of(pass, args), std::ref(work));
}

template <class Work>
void LossStep::in_slices(Machine& machine, const SequenceBatch& batch, const Work& work) {
  const int64_t most_tokens = tokens_at_once(model_.parameters());
  const auto [begin, end] = sequences_of_rank(batch);
  for (int64_t first = begin, last; first < end; first = last) {
    last = micro_batch_end(batch, first, end, 0, most_tokens);
    const ArenaScope scope(machine.arena);
    Pass pass{.ops = machine.ops, .arena = machine.arena, .compute = machine.compute, .keep = false};
    LossArgs args = upload(pass, batch, first, last);
    if (labels_.empty()) continue;
    args.gradients = false;
    work(pass, args);
  }
}

LossTotals LossStep::evaluate(Machine& machine, const SequenceBatch& batch, ScoredTokens* each) {
  std::array<double, 3> sums{};
  ScoredTokens own;
  in_slices(machine, batch, [&](Pass& pass, LossArgs& args) {
    args.totals = pass.arena.make_zeros(DType::f32, {3});
    if (each) {
      args.row_losses = pass.arena.make(DType::f32, {args.labels.count()});
      args.ranks = pass.arena.make(DType::i32, {args.labels.count()});
      args.likeliest = pass.arena.make(DType::i32, {args.labels.count()});
    }
    model_loss(pass, model_, args, *saved_);
    std::array<float, 3> totals{};
    pass.arena.memory().copy_out(totals.data(), args.totals.data, sizeof totals);
    for (size_t i = 0; i < sums.size(); ++i) sums[i] += static_cast<double>(totals[i]);
    if (!each) return;
    append_copy(pass, args.row_losses, own.losses);
    append_copy(pass, args.ranks, own.ranks);
    append_copy(pass, args.likeliest, own.likeliest);
  });
  sum_over_ranks(sums);
  if (each) *each = {gather_over_ranks(own.losses), gather_over_ranks(own.ranks), gather_over_ranks(own.likeliest)};
  return {sums[0], sums[1], sums[2]};
}

std::vector<int32_t> LossStep::predict(Machine& machine, const SequenceBatch& batch) {
  std::vector<int32_t> predicted;
  in_slices(machine, batch, [&](Pass& pass, LossArgs& args) {
    const Tensor logits = model_logits(pass, model_, args.tokens, args.scored_rows, *saved_);
    const Tensor likeliest = pass.arena.make(DType::i32, {logits.rows()});
    pass.ops.sample({.logits = logits, .tokens = likeliest});
    append_copy(pass, likeliest, predicted);
  });
  return gather_over_ranks(predicted);
}

}  // namespace engine
