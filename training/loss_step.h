// LossStep: a slice of a SequenceBatch through a model, for training (loss and all gradients) and for evaluation.
#pragma once

#include <memory>
#include <vector>

#include "models/model.h"
#include "training/task.h"

namespace engine {

// Sums over what is scored: tokens or sequences.
struct LossTotals {
  double loss = 0;     // sum of the negative log likelihoods (with label smoothing, if any)
  double scored = 0;   // how many
  double correct = 0;  // those whose likeliest prediction is the label

  LossTotals& operator+=(const LossTotals& other) {
    loss += other.loss;
    scored += other.scored;
    correct += other.correct;
    return *this;
  }
};

struct ScoredTokens {
  std::vector<float> losses;       // negative log likelihoods
  std::vector<int32_t> ranks;      // of the label among the logits, 1: the top
  std::vector<int32_t> likeliest;  // what predict gives
};

class LossStep {
 public:
  explicit LossStep(Model& model, float label_smoothing = 0);

  // From now on run() learns from this, too; it stays with the caller.
  void learn_from(ExtraLoss& extra) { extra_ = &extra; }

  // As Task::run: forward and backward of the sequences first ... last-1. Positions count from 0 in each sequence; a
  // slice without a scored token adds nothing. Does not allocate once it has seen slices of this size.
  void run(Pass& pass, const SequenceBatch& batch, int64_t first, int64_t last, float gradient_scale,
           const Tensor& totals);

  // Without gradients, dropout and label smoothing; cut by tokens into passes that fit. each (optional) receives the
  // loss, the rank (kernels/sampling/rank.h) and the likeliest prediction of each scored token, in the batch's order.
  // This and predict are of all ranks: each takes its share of the sequences, and all have the whole result.
  LossTotals evaluate(Machine& machine, const SequenceBatch& batch, ScoredTokens* each = nullptr);
  // The likeliest prediction at each scored token (its label is anything but -100), in the batch's order.
  std::vector<int32_t> predict(Machine& machine, const SequenceBatch& batch);

  // The slice's tensors on pass.arena; sets pass.segments.
  LossArgs upload(Pass& pass, const SequenceBatch& batch, int64_t first, int64_t last);

 private:
  // A slice of sequences that lie back to back: their tokens, positions and segments.
  Tokens::Source upload_row(Pass& pass, const std::vector<int32_t>& tokens, const std::vector<int32_t>& offsets,
                            int64_t first, int64_t last);
  // The scored rows as those that the model is asked for.
  AskedRows ask_for_scored(Pass& pass, const LossArgs& args, const SequenceBatch& batch, int64_t first, int64_t last);
  // work(pass, args) for slices of the batch that fit, without gradients; those with nothing scored are left out.
  template <class Work>
  void in_slices(Machine& machine, const SequenceBatch& batch, const Work& work);

  Model& model_;
  float label_smoothing_;
  ExtraLoss* extra_ = nullptr;
  std::unique_ptr<Model::Saved> saved_;
  std::vector<int32_t> positions_, offsets_, scored_rows_, scored_offsets_, labels_;
};

}  // namespace engine
