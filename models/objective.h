// Objective: what a model is trained for. It turns hidden states and targets into sums of a loss and the gradient of the
// hidden states.
#pragma once

#include "models/model.h"

namespace engine {

// Some sequences on the device: what a model reads of them, and what it should predict.
struct DeviceBatch {
  Tokens tokens;
  Layout layout, source;  // of the tokens; of the source's tokens
  OutputRows outputs;     // the R rows that are scored
  Tensor labels;          // i32 [R], the token or the class that each row should predict
  Tensor weights;         // optional f32 [R], weight of each row's loss
};

struct LossRequest {
  Tensor totals;             // f32 [3], += loss sum, weight sum, correct rows
  float gradient_scale = 1;  // factor of the loss sum in the gradients
  float token_scale = 1;     // the same for a sum over all tokens of the step, scored or not
  bool gradients = true;     // false: evaluation
  Tensor row_losses;         // optional f32 [R]
  Tensor ranks;              // optional i32 [R], ranks of the labels (kernels/sampling/rank.h)
  Tensor likeliest;          // optional i32 [R], the token or the class with the largest logit
};

class Objective {
 public:
  virtual ~Objective() = default;
  // Comes before run, with the run that this will have: what must happen outside of work that a device captures.
  virtual void prepare(const Run&) {}
  // Whether it needs the hidden states of all rows, or of the batch's output rows alone.
  virtual bool reads_all_rows() const { return false; }
  // Adds to request.totals. Returns the gradient of the hidden states, shaped as they are, on pass.arena, and adds to
  // those of the head's parameters; absent without gradients.
  virtual Tensor run(Pass& pass, const Tensor& hidden, const DeviceBatch& batch, const LossRequest& request) = 0;
};

// Forward of a model and its objective and, with gradients, backward. pass needs no layouts: they are the batch's.
void run_objective(Pass& pass, Model& model, Objective& objective, const DeviceBatch& batch, const LossRequest& request,
                   Model::Saved& saved);

// The output rows of hidden states on their way through a head, and back.
class HeadPass {
 public:
  HeadPass(Pass& pass, const Head& head, const Tensor& hidden, const OutputRows& outputs, bool gradients);
  // The gradient of the hidden states from `dfeatures`.
  Tensor backward();

  Pass pass;  // over the output rows
  const Head& head;
  Tensor features;   // [R, E]
  Tensor dfeatures;  // [R, E], absent without gradients

 private:
  const OutputRows& outputs_;
  Shape shape_;  // of the hidden states
  Tensor rows_;  // [R, C]
  Head::Saved saved_;
};

// An objective that scores what a model's head makes of the output rows.
class ScoreObjective : public Objective {
 public:
  explicit ScoreObjective(const Model& model) : head_(model.head()) {}
  Tensor run(Pass& pass, const Tensor& hidden, const DeviceBatch& batch, const LossRequest& request) override;
  // Adds to request.totals; with gradients writes rows.dfeatures and adds to the gradients of the projection.
  virtual void score(HeadPass& rows, const DeviceBatch& batch, const LossRequest& request) = 0;

 protected:
  const Head& head_;
};

// Cross entropy of each output row's token or class (kernels/losses/cross_entropy.h). Labels are smoothed where gradients
// are taken, not in evaluations.
class CrossEntropyObjective final : public ScoreObjective {
 public:
  explicit CrossEntropyObjective(const Model& model, float label_smoothing = 0)
      : ScoreObjective(model), label_smoothing_(label_smoothing) {}
  void score(HeadPass& rows, const DeviceBatch& batch, const LossRequest& request) override;

 private:
  float label_smoothing_;
};

}  // namespace engine
