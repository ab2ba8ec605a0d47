// Model: a trunk that turns tokens into hidden states, and a head that scores some of their rows. Architectures
// implement it; steps and tasks use it through model_loss and model_logits.
#pragma once

#include <memory>

#include "models/config.h"
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
  // Whether it has an encoder beside a decoder: every sequence then comes with a source (Tokens::source).
  bool reads_source() const { return config_.architecture == "bart"; }
  Parameters& parameters() { return parameters_; }

  virtual std::unique_ptr<Saved> make_saved() const = 0;
  // The hidden states [N, C] (f32 or pass.compute), on pass.arena; where some rows are asked for perhaps theirs alone,
  // [R, C].
  virtual Tensor forward(Pass& pass, const Tokens& tokens, Saved& saved) = 0;
  // From dhidden, shaped as what forward returned, to the gradients of all parameters of the trunk.
  virtual void backward(Pass& pass, const Tokens& tokens, const Tensor& dhidden, Saved& saved) = 0;

  // The head: from rows of the hidden states [R, C] to the features [R, E] that the output projection reads, and from
  // their gradient to that of the rows; gradients of the head's parameters are added to.
  virtual Tensor head_forward(Pass&, const Tensor& rows, Saved&) { return rows; }
  virtual Tensor head_backward(Pass&, const Tensor& dfeatures, const Tensor&, Saved&) { return dfeatures; }
  // [V, E]; logits = features W^T + bias. May be the token embedding itself. An error where the model has no head.
  virtual Parameter& output_projection() = 0;
  virtual Parameter* output_bias() { return nullptr; }

 protected:
  ModelConfig config_;
  Parameters parameters_;
};

// Sizes that no architecture can have are a UsageError that names the option.
void check_sizes(const ModelConfig& config);

// What a model learns from beside its labels (training/distillation.h): called by model_loss where gradients are taken.
class ExtraLoss {
 public:
  virtual ~ExtraLoss() = default;
  // Before the model's own pass; what is made on pass.arena stays for the two below.
  virtual void begin(Pass& pass, const Tokens& tokens, const Tensor& scored_rows) = 0;
  // Adds to the gradient of the features [R, E], and to those of the output projection.
  virtual void add_at_features(Pass& pass, const Tensor& features, const Tensor& dfeatures) = 0;
  // Adds to the gradient of the hidden states [N, C].
  virtual void add_at_hidden(Pass& pass, const Tensor& hidden, const Tensor& dhidden) = 0;
};

// The scored part of a pass: loss over the rows whose label is not -100, and all gradients.
struct LossArgs {
  Tokens tokens;
  Tensor scored_rows;         // i32 [R]: rows of the pass that are scored, ascending
  Tensor labels;              // i32 [R]: the token, or the class, that each should predict
  Tensor totals;              // f32 [3], += loss sum, R, correct
  float gradient_scale = 1;   // of the loss sum
  bool gradients = true;      // false: evaluation
  Tensor row_losses;          // optional f32 [R]
  Tensor ranks;               // optional i32 [R], of the labels (kernels/sampling/rank.h)
  Tensor likeliest;           // optional i32 [R]: the token, or the class, with the largest logit
  float label_smoothing = 0;
  ExtraLoss* extra = nullptr;
};
void model_loss(Pass& pass, Model& model, const LossArgs& args, Model::Saved& saved);

// logits f32 [R, V] of the given rows (i32 [R]; Tensor{}: of all), on pass.arena. No gradients.
Tensor model_logits(Pass& pass, Model& model, const Tokens& tokens, const Tensor& rows, Model::Saved& saved);
// The same of features [R, E], into `logits`.
void project(Pass& pass, Model& model, const Tensor& features, const Tensor& logits);
// The given rows of hidden states in pass.compute; hidden itself where that is all of it. Hidden states of as many rows
// as are given are those.
Tensor rows_of(Pass& pass, const Tensor& hidden, const Tensor& rows);
// The features that the output projection reads, [R, E], on pass.arena. No gradients.
Tensor model_features(Pass& pass, Model& model, const Tokens& tokens, const Tensor& rows, Model::Saved& saved);

}  // namespace engine
