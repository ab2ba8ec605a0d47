// CachedScorer runs new tokens of many sequences behind what their slots of a decoding state hold, and scores them. So
// texts that share a beginning run it once. Its slot is copied, and each text goes on in its own. CachedDecoder does
// the same for the last token of each sequence alone, and gives its logits.
#pragma once

#include <span>
#include <vector>

#include "models/cached_thoughts.h"
#include "models/objective.h"
#include "models/upload.h"

namespace engine {

class CachedScorer {
 public:
  // A piece is tokens of a sequence whose slot holds `cached` tokens before them. They overwrite what it holds there.
  struct Piece {
    int64_t slot = 0, cached = 0;
    std::span<const int32_t> tokens;
    std::span<const int32_t> labels = {};  // one for each token, -100: not scored; empty: none is scored
    std::span<const int32_t> positions = {};  // of each token; empty: counted from `cached`
  };
  // Holds what is known of each scored token, in the order of the pieces.
  struct Scores {
    bool wants_ranks = false;

    int32_t ranked_token = -1;   // takes the ranks of this token instead of the labels'
    std::vector<float> losses;   // negative log likelihoods
    std::vector<int32_t> ranks;  // of the label among the logits, 1: the top; empty where not wanted
  };
  // Throws an Error where the model is no decoder.
  CachedScorer(Ops& ops, Model& model, DType compute);

  // Makes an empty decoding state on arena(), which lives until the caller's scope ends.
  void begin(const DecodeSizes& sizes);
  // Runs the pieces, which are of different slots, in passes that fit into memory, and appends to `scores`. Each token
  // sees those before it or, where it is bidirectional, all of its piece, too. A model with thought states takes a
  // piece with thoughts in several passes; what a thought at a piece's beginning injects was captured at the slot's
  // last token, which must then be the one before it. A wrong piece is an Error.
  void score(std::span<const Piece> pieces, Scores& scores, bool bidirectional = false);
  using Copy = DecodeState::Copy;
  void copy_slots(std::span<const Copy> copies);

  Arena& arena() { return arena_; }

 private:
  void check(std::span<const Piece> pieces, bool bidirectional) const;
  // Runs some pieces in one pass. Each has a thought with a state at most at its beginning. Writes to the first of
  // these places in `scores`, one for each scored token, and returns how many that were.
  size_t run(std::span<const Piece> pieces, std::span<const size_t> places, Scores& scores, bool bidirectional);

  Ops& ops_;
  Model& model_;
  DType compute_;
  Arena arena_;
  CrossEntropyObjective objective_;
  std::unique_ptr<Model::Saved> saved_;
  std::unique_ptr<DecodeState> state_;
  std::optional<CachedThoughts> thoughts_;
  Upload upload_;
};

}  // namespace engine
