// CausalStep: a slice of a SequenceBatch through a decoder, for training (loss and all gradients) and for evaluation.
#pragma once

#include <memory>
#include <vector>

#include "models/causal_model.h"
#include "training/task.h"

namespace engine {

// Sums over scored tokens.
struct LossTotals {
  double loss = 0;     // sum of the negative log likelihoods (with label smoothing, if any)
  double scored = 0;   // tokens
  double correct = 0;  // tokens whose likeliest prediction is the label
};

class CausalStep {
 public:
  explicit CausalStep(Model& model, float label_smoothing = 0);

  // As Task::run: forward and backward of the sequences first ... last-1. Positions count from 0 in each sequence; a
  // slice without a scored token adds nothing. Does not allocate once it has seen slices of this size.
  void run(Pass& pass, const SequenceBatch& batch, int64_t first, int64_t last, float gradient_scale,
           const Tensor& totals);

  // Without gradients, dropout and label smoothing; cut by tokens into passes that fit. row_losses (optional) receives
  // the loss of each scored token, in the batch's order.
  LossTotals evaluate(Machine& machine, const SequenceBatch& batch, std::vector<float>* row_losses = nullptr);

 private:
  // The slice's tensors on pass.arena; sets pass.segments.
  LossArgs upload(Pass& pass, const SequenceBatch& batch, int64_t first, int64_t last);

  Model& model_;
  float label_smoothing_;
  std::unique_ptr<Model::Saved> saved_;
  std::vector<int32_t> positions_, offsets_, scored_rows_, labels_;
};

}  // namespace engine
