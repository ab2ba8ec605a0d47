// CachedDecoder: a decoder that goes on from the keys and values of what it has read, for many sequences at once; of an
// encoder-decoder also from those of the sources, which are read once. Generator and beam search schedule its passes.
#pragma once

#include <span>
#include <vector>

#include "models/causal_model.h"

namespace engine {

class CachedDecoder {
 public:
  // A sequence that is being generated. Its keys and values lie in its slot of the cache, of `cached` tokens so far.
  struct Sequence {
    size_t index = 0;  // of its prompt
    int64_t slot = 0, cached = 0;
    std::span<const int32_t> pending;  // tokens that the next pass runs over: the prompt, then what was drawn last
    int64_t source_slot = 0;
    std::span<const int32_t> source;   // what the encoder reads in the next pass; empty where that is done
  };
  struct Sizes {
    int64_t slots = 0, rows = 0;  // sequences at once, and the most tokens in one
    int64_t source_slots = 0, source_rows = 0;
  };

  // Keeps weights packed while it lives: call refresh after an update of the model.
  CachedDecoder(Ops& ops, CausalModel& model, DType compute);
  ~CachedDecoder();
  void refresh();

  // An empty cache on arena(), until the caller's scope ends.
  void make_cache(const Sizes& sizes);
  // Runs over the pending tokens (and new sources) of all sequences, in their order: the logits of each one's last
  // token, f32 [S, V], on arena(). `cached` and `pending` are the caller's to move on.
  Tensor logits(std::span<const Sequence> sequences);
  // The first `rows` rows of slot `to` become those of slot `from`, in every layer; no slot is both.
  struct Copy {
    int64_t from, to, rows;
  };
  void copy_slots(std::span<const Copy> copies);

  Ops& ops() { return ops_; }
  Arena& arena() { return arena_; }
  const ModelConfig& config() const { return model_.config(); }
  // An error where prompts or sources cannot be: empty, too long, tokens that the model does not have. sources: one of
  // each prompt for a model that reads sources, else none.
  void check(std::span<const std::vector<int32_t>> prompts, std::span<const std::vector<int32_t>> sources) const;

 private:
  Ops& ops_;
  CausalModel& model_;
  DType compute_;
  Arena arena_;
  std::unique_ptr<Model::Saved> saved_;
  KeyValueCache cache_;
  Sizes sizes_;
  std::vector<int64_t> source_lengths_;  // of each source slot
  std::vector<int32_t> numbers_;
};

}  // namespace engine
