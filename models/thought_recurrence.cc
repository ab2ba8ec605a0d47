#include "models/thought_recurrence.h"

namespace engine {

namespace {

// Returns the elements first ... end-1 of a vector.
Tensor part_of(const Tensor& vector, int64_t first, int64_t end) {
  Tensor part = vector.reshaped({vector.count(), 1}).row_range(first, end);
  part.shape = {end - first};
  return part;
}

// With more chunks the weights of a training step are packed once for all of them.
constexpr int64_t chunks_without_packing = 3;

}  // namespace

ThoughtRecurrence::ThoughtRecurrence(Model& model) : model_(model) {
  require(static_cast<bool>(model.thought_states()), "the model has no thought states");
}

ThoughtRecurrence::Piece& ThoughtRecurrence::add_piece(Pass& pass, const Tensor& ids) {
  Piece& piece = pieces_.emplace_back(Piece{.pass = pass, .tap = ThoughtTap(model_.thought_states()),
                                            .tokens = {.ids = ids}});
  if (saved_.size() < pieces_.size()) saved_.push_back(model_.make_saved());
  return piece;
}

void ThoughtRecurrence::set_cache(const Piece& piece) {
  if (!cache_) return;
  cache_->rows = piece.cache_rows;
  cache_->keys = piece.keys;
}

void ThoughtRecurrence::run(Piece& piece, const Tensor& inject, const Tensor& capture, const Tensor& hidden) {
  Pass& pass = piece.pass;
  if (capture.count()) piece.captured = pass.arena.make_zeros(DType::f32, {capture.count(), hidden.cols()});
  piece.tap.begin(inject, piece.dense, capture, piece.captured);
  pass.tap = &piece.tap;
  pass.state = cache_.get();
  set_cache(piece);
  Model::Saved& saved = *saved_[pieces_.size() - 1];
  if (pass.keep) {
    pass.ops.copy({.x = model_.hidden_states(pass, piece.tokens, saved), .y = hidden});
    return;
  }
  const ArenaScope scope(pass.arena);
  pass.ops.copy({.x = model_.hidden_states(pass, piece.tokens, saved), .y = hidden});
}

Tensor ThoughtRecurrence::exact(Pass& pass, const Tensor& ids, std::span<const ThoughtChunk> chunks) {
  const int64_t tokens = ids.count(), width = model_.config().hidden_size;
  pieces_.clear();
  first_trained_ = 0;
  cache_ = model_.make_decode_state(pass.arena, pass.compute, {.slots = 1, .rows = tokens});
  if (pass.keep) static_cast<KeyValueCache&>(*cache_).make_gradients(pass.arena);
  const Tensor hidden = pass.arena.make(pass.compute, {tokens, width});
  const bool packed = pass.keep && std::ssize(chunks) > chunks_without_packing;
  if (packed) model_.parameters().pack_for_training(pass.ops, pass.compute);
  for (const ThoughtChunk& chunk : chunks) {
    const int64_t end = chunk.first + chunk.cache_rows.count();
    Piece& piece = add_piece(pass, part_of(ids, chunk.first, end));
    piece.pass.layout = chunk.layout;
    piece.pass.packed = packed;
    piece.first = chunk.first;
    piece.cache_rows = chunk.cache_rows;
    piece.keys = chunk.keys;
    if (pieces_.size() > 1)
      piece.dense =
          model_.thought_states().dense(piece.pass, pieces_[pieces_.size() - 2].captured, piece.state);
    run(piece, chunk.inject, chunk.capture, hidden.row_range(chunk.first, end));
  }
  return hidden;
}

Tensor ThoughtRecurrence::states(Pass& pass) const {
  int64_t count = 0;
  for (const Piece& piece : pieces_) count += piece.dense ? piece.dense.rows() : 0;
  if (count == 0) return {};
  const Tensor all = pass.arena.make(DType::f32, {count, model_.config().hidden_size});
  int64_t first = 0;
  for (const Piece& piece : pieces_) {
    if (!piece.dense) continue;
    pass.ops.copy({.x = piece.dense, .y = all.row_range(first, first + piece.dense.rows())});
    first += piece.dense.rows();
  }
  return all;
}

Tensor ThoughtRecurrence::passes(Pass& pass, const Tensor& ids, const ThoughtRows& rows, int64_t count, bool detached,
                                 const Tensor& initial) {
  require(count > 0, "thought passes: at least one");
  if (!rows.inject.count()) count = 1;  // all passes are the same
  pieces_.clear();
  cache_.reset();
  first_trained_ = detached ? static_cast<size_t>(count) - 1 : 0;
  const Tensor hidden = pass.arena.make(pass.compute, {ids.count(), model_.config().hidden_size});
  for (int64_t i = 0; i < count; ++i) {
    Piece& piece = add_piece(pass, ids);
    piece.pass.keep = pass.keep && pieces_.size() > first_trained_;
    if (i > 0 && rows.inject.count())
      piece.dense =
          model_.thought_states().dense(piece.pass, pieces_[pieces_.size() - 2].captured, piece.state);
    else piece.dense = initial;
    run(piece, piece.dense ? rows.inject : Tensor{}, i + 1 < count ? rows.capture : Tensor{}, hidden);
  }
  return hidden;
}

void ThoughtRecurrence::backward(Pass& pass, const Tensor& dhidden) {
  Tensor dcaptured, none;
  for (size_t i = pieces_.size(); i-- > first_trained_;) {
    Piece& piece = pieces_[i];
    Pass& own = piece.pass;
    own.is_last = pass.is_last && i == first_trained_;
    Tensor dpiece = dhidden;
    if (cache_) {
      dpiece = dhidden.row_range(piece.first, piece.first + piece.cache_rows.count());
    } else if (i + 1 < pieces_.size()) {  // the loss reads the last pass alone
      if (!none) none = pass.arena.make_zeros(dhidden.dtype, dhidden.shape);
      dpiece = none;
    }
    const bool continues = i > first_trained_ && piece.dense;
    const Tensor next = continues ? own.arena.make(DType::f32, piece.dense.shape) : Tensor{};
    const ArenaScope scope(own.arena);
    const Tensor ddense = piece.dense ? own.arena.make_zeros(DType::f32, piece.dense.shape) : Tensor{};
    piece.tap.begin_backward(dcaptured, ddense);
    set_cache(piece);
    const Embedded dx = model_.trunk_backward(own, dpiece, *saved_[i]);
    model_.embed_backward(own, piece.tokens, dx);
    if (continues) model_.thought_states().dense_backward(own, ddense, piece.state, next);
    dcaptured = next;
  }
}

}  // namespace engine
