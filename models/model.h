// A model is a trunk, which turns tokens into hidden states, and a head, which scores some of their rows. Architectures
// implement it (architectures.h lists them). Objectives and generation use it.
#pragma once

#include <memory>

#include "models/config.h"
#include "models/head.h"
#include "models/pass.h"
#include "models/thought_states.h"

namespace engine {

class Model {
 public:
  // Saved keeps what backward needs of one forward pass. A caller has one for each pass that is alive at a time.
  struct Saved {
    virtual ~Saved() = default;
  };

  explicit Model(const ModelConfig& config) : config_(config), thought_states_(parameters_, config) {}
  virtual ~Model() = default;

  const ModelConfig& config() const { return config_; }
  Parameters& parameters() { return parameters_; }
  // Returns the head. Throws an Error where the model has no outputs.
  const Head& head() const;
  // Returns what makes the model recurrent at its thought tokens. It is absent in most models.
  const ThoughtStates& thought_states() const { return thought_states_; }

  virtual std::unique_ptr<Saved> make_saved() const = 0;

  // A pass has four parts. Each makes its result on pass.arena. Returns the embeddings of the tokens. They stay in use
  // until the backward pass; a pass that keeps nothing overwrites them.
  virtual Embedded embed(Pass& pass, const Tokens& tokens) = 0;
  // Returns the hidden states [N, C] (f32 or in the precision of the pass). With output rows it may return theirs
  // alone, [R, C].
  virtual Tensor trunk(Pass& pass, const Embedded& x, Saved& saved) = 0;
  // Takes dhidden, shaped as what trunk returned, to the gradients of the trunk's parameters and returns the
  // embeddings'.
  virtual Embedded trunk_backward(Pass& pass, const Tensor& dhidden, Saved& saved) = 0;
  // Takes the gradients of the embeddings to those of their tables.
  virtual void embed_backward(Pass& pass, const Tokens& tokens, const Embedded& dx) = 0;

  // Runs embedding and trunk.
  Tensor hidden_states(Pass& pass, const Tokens& tokens, Saved& saved) {
    return trunk(pass, embed(pass, tokens), saved);
  }

  // Makes memory for continuing sequences, on the arena. Throws an Error in a model that does not generate.
  virtual std::unique_ptr<DecodeState> make_decode_state(Arena& arena, DType compute, const DecodeSizes& sizes) const;

 protected:
  ModelConfig config_;
  Parameters parameters_;
  // Its parameters come first in the table, for their gradients are complete last.
  ThoughtStates thought_states_;
  Head head_;
};

// Throws a UsageError that names the option where no architecture can have these sizes.
void check_sizes(const ModelConfig& config);

// Returns the given rows (i32 [R]) of hidden states, in the precision of the pass. Returns hidden itself where that is
// all of it. Hidden states of as many rows as are given are those rows.
Tensor output_rows(const Run& run, const Tensor& hidden, const Tensor& index);

// Returns logits f32 [R, V] of the given rows (i32 [R], Tensor{} for all), on pass.arena. It computes no gradients.
Tensor model_logits(Pass& pass, Model& model, const Tokens& tokens, const Tensor& rows, Model::Saved& saved);

}  // namespace engine
