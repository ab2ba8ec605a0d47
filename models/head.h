// The head of a model turns output rows of hidden states into features, and projects these onto V outputs, which are
// tokens or classes.
//   features = drop(norm(act(dense(drop(rows))))), each part optional;  logits = features W^T + b
#pragma once

#include <optional>

#include "models/config.h"
#include "models/layers.h"
#include "models/span_head.h"

namespace engine {

struct Head {
  struct Saved {
    Tensor dropped;  // [R, C], input of the dense layer where entry_dropout dropped from it
    Tensor before;   // [R, E], before the activation
    ResidualNorm::Saved norm;
  };
  DropoutSite entry_dropout;  // of the rows, for a head with a dense layer
  std::optional<Linear> dense;
  Activation activation = Activation::none;
  std::optional<ResidualNorm> norm;
  DropoutSite dropout;
  Parameter* projection = nullptr;     // W [V, E], perhaps the token embedding; absent: no outputs
  Parameter* bias = nullptr;           // b [V], optional
  const Tensor* fixed_bias = nullptr;  // b [V], not trained, in place of `bias`
  SpanHead span;                       // adds to the logits of a head for answers
  ParameterRange range;                // its own parameters

  // Makes a layer its projection, which losses read, too.
  void project_by(const Linear& layer);

  // Returns features [R, E] of rows [R, C], both in the precision of the pass, on pass.arena. The pass is over the R
  // rows.
  Tensor forward(Pass& pass, const Tensor& rows, Saved& saved) const;
  // Returns the rows' gradient from that of the features. Comes behind all that adds to the gradient of the projection.
  // Nothing is added to the head's own gradients after it.
  Tensor backward(Pass& pass, const Tensor& dfeatures, const Tensor& rows, const Saved& saved) const;
  // Writes the logits f32 [R, V] of features [R, E].
  void project(const Run& run, const Tensor& features, const Tensor& logits) const;
  // The same for a backward pass, with what a head for answers saves.
  void project(const Run& run, const Tensor& features, const Tensor& logits, SpanHead::Saved& saved) const;
  // Writes the gradient of the features from that of the logits, which it changes, and adds to those of the parameters.
  void project_backward(const Run& run, const Tensor& logits, const Tensor& dlogits, const Tensor& features,
                        const SpanHead::Saved& saved, const Tensor& dfeatures) const;

  int64_t outputs() const { return projection->shape[0]; }
  Tensor bias_values() const { return bias ? bias->value : fixed_bias ? *fixed_bias : Tensor{}; }
};

// Gives a head the projection of a classifier, "classifier", from `width` features of a row to the classes of
// config.labels.
void add_classifier(Parameters& table, Head& head, const ModelConfig& config, int64_t width, float deviation);

// Gives a head the projection "qa_outputs" from `width` features of a row to two logits, that an answer begins and that
// it ends there (Devlin et al. 2018, section 4.2), and the parts of a SpanHead.
void add_span_outputs(Parameters& table, Head& head, const ModelConfig& config, int64_t width);

}  // namespace engine
