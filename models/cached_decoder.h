// CachedDecoder: a decoder that continues sequences from its decoding state (keys and values of what it has read), many
// at once. An encoder-decoder's state also holds what it made of the sources, which are read once. Generator and beam
// search schedule its passes.
#pragma once

#include <span>
#include <vector>

#include "models/architectures.h"
#include "models/upload.h"

namespace engine {

class CachedDecoder {
 public:
  // A sequence that is being generated. Its slot of the state holds `cached` tokens so far.
  struct Sequence {
    size_t index = 0;  // of its prompt
    int64_t slot = 0, cached = 0;
    std::span<const int32_t> pending;  // tokens that the next pass runs over: the prompt, then what was drawn last
    int64_t source_slot = 0;
    std::span<const int32_t> source;   // what the encoder reads in the next pass; empty once that is done
  };
  CachedDecoder(Ops& ops, Model& model, DType compute);

  // An empty state on arena(), until the caller's scope ends. Packs the weights where they have changed since they were
  // packed last.
  void begin(const DecodeSizes& sizes);
  // Runs over the pending tokens (and new sources) of all sequences, in their order: the logits of each one's last
  // token, f32 [S, V], on arena(). `cached` and `pending` are the caller's to move on.
  Tensor logits(std::span<const Sequence> sequences);
  using Copy = DecodeState::Copy;
  void copy_slots(std::span<const Copy> copies) { state_->copy_slots(ops_, arena_, copies); }

  Ops& ops() { return ops_; }
  Arena& arena() { return arena_; }
  const ModelConfig& config() const { return model_.config(); }
  // An error where prompts or sources cannot be: empty, too long, tokens that the model does not have. sources: one of
  // each prompt for a model that reads sources, else none.
  void check(std::span<const std::vector<int32_t>> prompts, std::span<const std::vector<int32_t>> sources) const;

 private:
  Ops& ops_;
  Model& model_;
  DType compute_;
  Arena arena_;
  std::unique_ptr<Model::Saved> saved_;
  std::unique_ptr<DecodeState> state_;
  std::vector<int64_t> source_lengths_;  // of each source slot
  Upload upload_;
};

}  // namespace engine
