// A ThoughtRecurrence runs a decoder with thought states (thought_states.h) over rows with thoughts, forward and
// backward, in one of two ways.
//
// exact: rows are cut at their thoughts. Chunk 0 of a row is what stands before its first thought, and chunk j begins
//   with thought j. The chunks j of all rows are one pass over a key/value cache, so every position is computed once.
//   Thought j injects a state that was captured at the end of chunk j - 1, so it is known when chunk j begins. The
//   backward pass takes the chunks in reverse: queries of later chunks have then added all that they give to the
//   gradients of a chunk's keys and values (SelfAttention::backward), and thought j + 1 has given the gradient of the
//   state that chunk j ends with.
// passes: whole rows are run several times. Each pass injects at all thoughts what the pass before captured, the first
//   one nothing, or states that are given. Attention carries a thought's state to all later ones, so a row with k
//   thoughts stops changing after k + 1 passes, which then equal `exact`. Fewer are an approximation, and cheaper where
//   k is large. The gradient goes through all passes, or (detached) through the last one alone.
//
// A thought at a row's first position has no state before it. Nothing is injected there.
#pragma once

#include <deque>
#include <memory>
#include <span>

#include "models/model.h"

namespace engine {

// The chunks j of all rows that have one. Tokens lie chunk by chunk in the flat row.
struct ThoughtChunk {
  int64_t first = 0;  // of its rows in the flat row
  Layout layout;      // of its rows
  Tensor cache_rows;  // i32, row of the cache for each of its rows
  Segments keys;      // rows of the cache that its sequences have so far
  Tensor inject;      // i32 [T], rows of the chunk that are thoughts with a state, a sequence each; absent in chunk 0
  Tensor capture;     // i32 [R], its last rows in the sequences that go on, in the next chunk's order; may be absent
};

// Rows of the flat row that are thoughts with a state, i32 [T], and those before them.
struct ThoughtRows {
  Tensor inject, capture;
};

class ThoughtRecurrence {
 public:
  // Throws an Error where the model has no thought states.
  explicit ThoughtRecurrence(Model& model);

  // Both return the hidden states [N, C] of ids i32 [N], in the precision of the pass, on its arena. `exact` needs no
  // layout of the whole in the pass.
  Tensor exact(Pass& pass, const Tensor& ids, std::span<const ThoughtChunk> chunks);
  // Returns what the thoughts of the last `exact` injected, f32 [T, C], chunk by chunk; absent without thoughts.
  Tensor states(Pass& pass) const;
  // `initial` (optional, f32 [T, C]) are states that the first of `count` passes injects.
  Tensor passes(Pass& pass, const Tensor& ids, const ThoughtRows& rows, int64_t count, bool detached,
                const Tensor& initial = {});
  // Takes dhidden, shaped as the hidden states, to the gradients of all parameters. The pass is the one before.
  void backward(Pass& pass, const Tensor& dhidden);

 private:
  // One pass through the model.
  struct Piece {
    Pass pass;
    ThoughtTap tap;
    Tokens tokens;
    int64_t first = 0;           // of its rows in the flat row
    Tensor cache_rows;           // as in ThoughtChunk
    Segments keys;
    Tensor captured, dense;      // f32 [R, C] that it captures, [T, C] that it injects
    ThoughtStates::Saved state;  // of `dense`
  };
  Piece& add_piece(Pass& pass, const Tensor& ids);
  // Runs the piece, and writes its hidden states.
  void run(Piece& piece, const Tensor& inject, const Tensor& capture, const Tensor& hidden);
  void set_cache(const Piece& piece);

  Model& model_;
  std::unique_ptr<DecodeState> cache_;  // of `exact`
  std::deque<Piece> pieces_;
  size_t first_trained_ = 0;            // pieces before it are detached
  std::vector<std::unique_ptr<Model::Saved>> saved_;  // of each piece; made once
};

}  // namespace engine
