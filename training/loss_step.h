// A LossStep takes a slice of a SequenceBatch through a model and its objective, for training (loss and all gradients)
// and for evaluation.
#pragma once

#include <memory>
#include <vector>

#include "training/batch_runner.h"
#include "training/task.h"

namespace engine {

// These are sums over the scored tokens or sequences.
struct LossTotals {
  double loss = 0;     // sum of the negative log likelihoods
  double scored = 0;   // number of scored, or sum of their weights
  double correct = 0;  // those whose likeliest prediction is the label

  LossTotals& operator+=(const LossTotals& other) {
    loss += other.loss;
    scored += other.scored;
    correct += other.correct;
    return *this;
  }
};

// An evaluation returns these of each scored token, in the batch's order.
struct ScoredTokens {
  // The caller says what it wants. The rest stays empty, and costs nothing.
  bool wants_losses = false, wants_ranks = false, wants_likeliest = false, wants_logits = false;

  std::vector<float> losses;       // negative log likelihoods
  std::vector<int32_t> ranks;      // of the label among the logits, 1: the top (kernels/sampling/rank.h)
  std::vector<int32_t> likeliest;  // the token or the class with the largest logit
  std::vector<float> logits;       // [N][outputs] of every token, scored or not, from an objective that reads all rows
};

class LossStep final : public BatchLoss {
 public:
  // The objective is by default the cross entropy of tokens or classes.
  explicit LossStep(Model& model, float label_smoothing = 0)
      : LossStep(model, std::make_unique<CrossEntropyObjective>(model, label_smoothing)) {}
  // The runner (optional) is how the model is run, by default that of make_runner.
  LossStep(Model& model, std::unique_ptr<Objective> objective, std::unique_ptr<BatchRunner> runner = nullptr);

  Objective& objective() { return *objective_; }

  // A slice without a scored token adds nothing. It does not allocate once it has seen slices of this size.
  void run(Pass& pass, const SequenceBatch& batch, int64_t first, int64_t last, float gradient_scale,
           const Tensor& totals) override;

  // Evaluates without gradients, dropout and label smoothing, in passes that fit. `each` (optional) receives what it
  // wants of every scored token. All ranks call it. Each takes its parts of the sequences (Machine::parts), and all
  // have the whole result.
  LossTotals evaluate(Machine& machine, const SequenceBatch& batch, ScoredTokens* each = nullptr);
  // As above. Tells `suspects` (optional) of the batch's sequences.
  LossTotals evaluate(Machine& machine, const SequenceBatch& batch, Suspects* suspects,
                      const Suspects::Example& example);
  // Returns the likeliest prediction at each scored token (any label but -100), in the batch's order.
  std::vector<int32_t> predict(Machine& machine, const SequenceBatch& batch);

 private:
  // Appends what `each` wants of the sequences first ... last-1 to `own`.
  LossTotals evaluate_slice(Machine& machine, const SequenceBatch& batch, int64_t first, int64_t last,
                            const ScoredTokens* each, ScoredTokens& own);

  Model& model_;
  std::unique_ptr<Objective> objective_;
  std::unique_ptr<BatchRunner> runner_;
};

}  // namespace engine
