// CausalModel: a decoder that predicts each token from those before it. Architectures implement it; tasks use it.
#pragma once

#include <memory>

#include "models/config.h"
#include "models/pass.h"

namespace engine {

class CausalModel {
 public:
  // What backward needs of one forward pass; a caller keeps one for each pass that is alive at a time.
  struct Saved {
    virtual ~Saved() = default;
  };

  explicit CausalModel(const ModelConfig& config) : config_(config) {}
  virtual ~CausalModel() = default;

  const ModelConfig& config() const { return config_; }
  Parameters& parameters() { return parameters_; }

  virtual std::unique_ptr<Saved> make_saved() const = 0;
  // The hidden states [N, C] (pass.compute) that the output projection reads, on pass.arena.
  virtual Tensor forward(Pass& pass, const Tokens& tokens, Saved& saved) = 0;
  // From dhidden [N, C] to the gradients of all parameters.
  virtual void backward(Pass& pass, const Tokens& tokens, const Tensor& dhidden, Saved& saved) = 0;
  // [V, C]; logits = hidden W^T. May be the token embedding itself.
  virtual Parameter& output_projection() = 0;

 protected:
  ModelConfig config_;
  Parameters parameters_;
};

// A new model of config.architecture with unset parameters: allocate and then initialise or load them.
std::unique_ptr<CausalModel> make_causal_model(const ModelConfig& config);

// The scored part of a pass: loss over the rows whose label is not -100, and all gradients.
struct LossArgs {
  Tokens tokens;
  Tensor scored_rows;         // i32 [R]: rows of the pass whose next token is scored, ascending
  Tensor labels;              // i32 [R]: their next tokens
  Tensor totals;              // f32 [3], += loss sum, R, correct
  float gradient_scale = 1;   // of the loss sum
  bool gradients = true;      // false: evaluation
  Tensor row_losses;          // optional f32 [R]
  float label_smoothing = 0;
};
void causal_loss(Pass& pass, CausalModel& model, const LossArgs& args, CausalModel::Saved& saved);

// logits f32 [R, V] of the given rows (i32 [R]; Tensor{}: of all), on pass.arena. No gradients.
Tensor causal_logits(Pass& pass, CausalModel& model, const Tokens& tokens, const Tensor& rows,
                     CausalModel::Saved& saved);

}  // namespace engine
