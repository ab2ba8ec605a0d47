// Model: a trunk that turns tokens into hidden states, and a head that scores some of their rows. Architectures implement
// it (architectures.h lists them); objectives and generation use it.
#pragma once

#include <memory>

#include "models/config.h"
#include "models/head.h"
#include "models/pass.h"

namespace engine {

class Model {
 public:
  // What backward needs of one forward pass; a caller keeps one for each pass that is alive at a time.
  struct Saved {
    virtual ~Saved() = default;
  };

  explicit Model(const ModelConfig& config) : config_(config) {}
  virtual ~Model() = default;

  const ModelConfig& config() const { return config_; }
  Parameters& parameters() { return parameters_; }
  // The head; an error where the model has no outputs.
  const Head& head() const;

  virtual std::unique_ptr<Saved> make_saved() const = 0;

  // The four parts of a pass. Each makes its result on pass.arena.
  // The embeddings of the tokens. They stay in use until the backward pass; a pass that keeps nothing overwrites them.
  virtual Embedded embed(Pass& pass, const Tokens& tokens) = 0;
  // The hidden states [N, C] (f32 or in the precision of the pass); with output rows perhaps theirs alone, [R, C].
  virtual Tensor trunk(Pass& pass, const Embedded& x, Saved& saved) = 0;
  // From dhidden, shaped as what trunk returned, to the gradients of the trunk's parameters and of the embeddings.
  virtual Embedded trunk_backward(Pass& pass, const Tensor& dhidden, Saved& saved) = 0;
  // From the gradients of the embeddings to those of their tables.
  virtual void embed_backward(Pass& pass, const Tokens& tokens, const Embedded& dx) = 0;

  // Embedding and trunk.
  Tensor hidden_states(Pass& pass, const Tokens& tokens, Saved& saved) {
    return trunk(pass, embed(pass, tokens), saved);
  }

  // Memory for continuing sequences, on the arena; an error in a model that does not generate.
  virtual std::unique_ptr<DecodeState> make_decode_state(Arena& arena, DType compute, const DecodeSizes& sizes) const;

 protected:
  ModelConfig config_;
  Parameters parameters_;
  Head head_;
};

// Sizes that no architecture can have are a UsageError that names the option.
void check_sizes(const ModelConfig& config);

// The given rows (i32 [R]) of hidden states, in the precision of the pass; hidden itself where that is all of it. Hidden
// states of as many rows as are given are those rows.
Tensor output_rows(const Run& run, const Tensor& hidden, const Tensor& index);

// logits f32 [R, V] of the given rows (i32 [R]; Tensor{}: of all), on pass.arena. No gradients.
Tensor model_logits(Pass& pass, Model& model, const Tokens& tokens, const Tensor& rows, Model::Saved& saved);

}  // namespace engine
