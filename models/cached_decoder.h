// CachedDecoder continues many sequences at once from a decoding state, which holds the keys and values of all tokens
// that were read. An encoder-decoder's state also holds keys and values of the sources, which are read once. Generator
// and beam search schedule its passes.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "models/architectures.h"
#include "models/cached_thoughts.h"
#include "models/upload.h"

namespace engine {

class CachedDecoder {
 public:
  // A sequence that is being generated has a slot of the decoding state, which holds `cached` tokens so far.
  struct Sequence {
    size_t index = 0;  // index of its prompt
    int64_t slot = 0, cached = 0;
    std::span<const int32_t> pending;  // tokens of the next pass: the prompt, later the last token drawn
    int64_t source_slot = 0;
    std::span<const int32_t> source;   // source that the next pass reads, empty afterwards
  };
  CachedDecoder(Ops& ops, Model& model, DType compute);

  // Packing all weights takes as long as some passes that pack them as they multiply, so the first passes in f32
  // on the host do without.
  static constexpr int64_t passes_without_packing = 8;

  // Makes an empty decoding state on arena(), which lives until the caller's scope ends.
  void begin(const DecodeSizes& sizes);
  // Runs over the pending tokens (and new sources) of all sequences, in their order, and calls use(logits) with the
  // logits of each one's last token, f32 [S, V], on arena(). The caller then updates `cached` and `pending`. Where each
  // sequence has one token, a device may capture the pass with the operations that `use` calls, and launch both as a
  // whole. So `use` copies nothing to or from the host. Behind the first passes this packs the weights where they have
  // changed since they were last packed. A model with thought states takes pending tokens with thoughts in several
  // passes, and a sequence that continues with a thought has all its cached tokens from such passes.
  void run(std::span<const Sequence> sequences, const std::function<void(const Tensor& logits)>& use);
  // Runs and returns the logits.
  Tensor logits(std::span<const Sequence> sequences);
  using Copy = DecodeState::Copy;
  void copy_slots(std::span<const Copy> copies);

  Ops& ops() { return ops_; }
  Arena& arena() { return arena_; }
  const ModelConfig& config() const { return model_.config(); }
  // Throws an Error where a prompt or a source is empty, is too long or has tokens that the model does not have.
  // sources has one entry for each prompt if the model reads sources, else none.
  void check(std::span<const std::vector<int32_t>> prompts, std::span<const std::vector<int32_t>> sources) const;

 private:
  // Runs one pass. A null `use` wants no logits.
  void run_pass(std::span<const Sequence> sequences, const std::function<void(const Tensor& logits)>* use);

  Ops& ops_;
  Model& model_;
  DType compute_;
  Arena arena_;
  std::unique_ptr<Model::Saved> saved_;
  std::unique_ptr<DecodeState> state_;
  std::optional<CachedThoughts> thoughts_;
  std::vector<int64_t> source_lengths_;  // of each source slot
  Upload upload_;
  int64_t passes_ = 0;  // that were run
};

}  // namespace engine
