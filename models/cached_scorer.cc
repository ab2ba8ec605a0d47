#include "models/cached_scorer.h"

#include <set>

#include "core/error.h"
#include "core/host_copy.h"
#include "models/architectures.h"
#include "models/cached_rows.h"

namespace engine {

namespace {

// This is enough for the matrix units, and little enough to stay small.
constexpr size_t tokens_per_scoring = 4096;

}  // namespace

CachedScorer::CachedScorer(Ops& ops, Model& model, DType compute)
    : ops_(ops), model_(model), compute_(compute), arena_(ops.memory()), objective_(model), saved_(model.make_saved()) {
  require(architecture_of(model.config()).kind == ModelKind::decoder,
          "texts are scored behind a cache by decoders: this model is a ", model.config().architecture);
}

void CachedScorer::begin(const DecodeSizes& sizes) {
  state_ = model_.make_decode_state(arena_, compute_, sizes);
  thoughts_.emplace(model_, arena_, sizes.slots);
}

void CachedScorer::copy_slots(std::span<const Copy> copies) {
  state_->copy_slots(ops_, arena_, copies);
  thoughts_->copy_slots(ops_, arena_, copies);
}

void CachedScorer::check(std::span<const Piece> pieces, bool bidirectional) const {
  std::set<int64_t> slots;
  for (const Piece& piece : pieces) {
    const auto count = static_cast<int64_t>(piece.tokens.size());
    require(count > 0, "a piece without tokens");
    require(piece.labels.empty() || piece.labels.size() == piece.tokens.size(), "a piece of ", count, " tokens has ",
            piece.labels.size(), " labels");
    require(0 <= piece.slot && piece.slot < state_->sizes.slots, "slot ", piece.slot, " of ", state_->sizes.slots);
    require(slots.insert(piece.slot).second, "two pieces of slot ", piece.slot);
    require(piece.positions.empty() || piece.positions.size() == piece.tokens.size(), "a piece of ", count,
            " tokens has ", piece.positions.size(), " positions");
    for (const int32_t position : piece.positions)
      require(0 <= position && position < model_.config().max_positions, "position ", position,
              ": the model has positions for ", model_.config().max_positions);
    const int64_t end = piece.cached + count;
    require(piece.cached >= 0 && end <= state_->sizes.rows, "a sequence of ", end, " tokens: the cache has rows for ",
            state_->sizes.rows);
    require(end <= model_.config().max_positions, "a sequence of ", end, " tokens: the model has positions for ",
            model_.config().max_positions);
    for (const int32_t token : piece.tokens)
      require(0 <= token && token < model_.config().vocab_size, "token ", token, ": the model has ",
              model_.config().vocab_size, " tokens");
    require(!bidirectional || !model_.thought_states() ||
                parts_at_thoughts(piece.tokens, model_.config().thought_token).size() == 1,
            "a piece with thoughts is seen in both directions: their states have none");
  }
}

void CachedScorer::score(std::span<const Piece> pieces, Scores& scores, bool bidirectional) {
  check(pieces, bidirectional);
  model_.parameters().pack(ops_, compute_);
  const int32_t thought = model_.thought_states() ? model_.config().thought_token : -1;
  // The first parts of all pieces come first, then the second ones, and so on. `places` are those of their scored
  // tokens among the results.
  std::vector<std::vector<Piece>> rounds;
  std::vector<std::vector<size_t>> places;
  size_t place = scores.losses.size();
  for (const Piece& piece : pieces) {
    size_t round = 0, begin = 0;
    for (const std::span<const int32_t> tokens : parts_at_thoughts(piece.tokens, thought)) {
      if (rounds.size() == round) rounds.emplace_back(), places.emplace_back();
      const auto labels = piece.labels.empty() ? piece.labels : piece.labels.subspan(begin, tokens.size());
      const auto positions =
          piece.positions.empty() ? piece.positions : piece.positions.subspan(begin, tokens.size());
      rounds[round].push_back({piece.slot, piece.cached + static_cast<int64_t>(begin), tokens, labels, positions});
      for (const int32_t label : labels)
        if (label != -100) places[round].push_back(place++);
      begin += tokens.size();
      ++round;
    }
  }
  scores.losses.resize(place);
  if (scores.wants_ranks) scores.ranks.resize(place);
  for (size_t round = 0; round < rounds.size(); ++round) {
    const std::span<const Piece> parts = rounds[round];
    std::span<const size_t> rest = places[round];
    for (size_t first = 0, last; first < parts.size(); first = last) {
      size_t tokens = 0;
      for (last = first; last < parts.size(); ++last) {
        if (last > first && tokens + parts[last].tokens.size() > tokens_per_scoring) break;
        tokens += parts[last].tokens.size();
      }
      rest = rest.subspan(run(parts.subspan(first, last - first), rest, scores, bidirectional));
    }
  }
}

size_t CachedScorer::run(std::span<const Piece> pieces, std::span<const size_t> places, Scores& scores,
                         bool bidirectional) {
  const ArenaScope scope(arena_);
  int64_t tokens = 0, scored = 0;
  for (const Piece& piece : pieces) {
    tokens += static_cast<int64_t>(piece.tokens.size());
    for (const int32_t label : piece.labels) scored += label != -100;
  }
  const auto count = static_cast<int64_t>(pieces.size());
  upload_.clear();
  CachedRow row(upload_, tokens, count);
  CachedSegments keys(upload_, count);
  const Upload::List index = upload_.list(scored), labels = upload_.list(scored);
  thoughts_->list(upload_, pieces, [](const Piece& piece) {
    return CachedThoughts::Part{piece.slot, piece.cached, piece.tokens};
  });
  std::vector<DecodeState::Part> parts;
  for (const Piece& piece : pieces) parts.push_back({piece.slot, piece.cached, std::ssize(piece.tokens)});
  state_->list(upload_, parts);
  size_t at = 0;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const Piece& piece = pieces[i];
    for (size_t t = 0; t < piece.labels.size(); ++t) {
      if (piece.labels[t] == -100) continue;
      upload_[index][at] = static_cast<int32_t>(row.token + t);
      upload_[labels][at++] = piece.labels[t];
    }
    const int64_t first = piece.slot * state_->sizes.rows;
    row.add(piece.tokens, piece.cached, first, piece.positions);
    keys.set(i, first, piece.cached + static_cast<int64_t>(piece.tokens.size()));
  }
  upload_.send(arena_);
  state_->take(upload_);
  state_->rows = upload_.tensor(row.rows);
  state_->keys = keys.segments(1);
  // Recomputation holds the activations of one layer at a time.
  Pass pass({.ops = ops_, .arena = arena_, .compute = compute_, .recompute = true, .keep = false}, row.layout());
  pass.state = state_.get();
  pass.bidirectional = bidirectional;
  const Tokens inputs{.ids = upload_.tensor(row.ids)};
  thoughts_->begin(pass, upload_);
  if (scored == 0) {
    model_.hidden_states(pass, inputs, *saved_);
    thoughts_->end(pass, upload_);
    return 0;
  }
  const LossRequest request{.totals = arena_.make_zeros(DType::f32, {3}),
                            .gradients = false,
                            .row_losses = arena_.make(DType::f32, {scored}),
                            .ranks = scores.wants_ranks ? arena_.make(DType::i32, {scored}) : Tensor{},
                            .ranked_token = scores.ranked_token};
  const DeviceBatch batch{.tokens = inputs,
                          .layout = pass.layout,
                          .outputs = {.index = upload_.tensor(index)},
                          .labels = upload_.tensor(labels)};
  run_objective(pass, model_, objective_, batch, request, *saved_);
  thoughts_->end(pass, upload_);
  const auto put = [&]<class T>(const Tensor& found, std::vector<T>& all) {
    if (!found) return;
    const std::vector<T> numbers = host_copy<T>(arena_.memory(), found);
    for (size_t i = 0; i < numbers.size(); ++i) all[places[i]] = numbers[i];
  };
  put(request.row_losses, scores.losses);
  put(request.ranks, scores.ranks);
  return static_cast<size_t>(scored);
}

}  // namespace engine
