// An objective is what a model is trained for. It turns hidden states and targets into sums of a loss and the gradient
// of the hidden states.
#pragma once

#include "models/model.h"

namespace engine {

// Some sequences on the device, with what a model reads of them and what it should predict.
struct DeviceBatch {
  Tokens tokens;
  Layout layout, source;  // of the tokens, and of the source's tokens
  OutputRows outputs;     // the R rows that are scored
  Tensor labels;          // i32 [R], token or class to predict
  Tensor weights;         // optional f32 [R], weight of each row's loss
  Tensor penalties;       // optional f32 [R], weight of a penalty on a thought as the token behind each row
  Tensor spans;           // optional f32 [N, 2], weight of each row as an answer's first and last one
  Tensor covered;         // optional f32 [N], 1 for the rows of an answer, else 0
};

// A teacher's logits beside the targets, for an objective that reads all rows.
struct SoftTargets {
  Tensor logits;  // f32 [N, 2]
  float temperature = 1;
  Tensor totals;             // f32 [2], += loss sum, sequences
  float gradient_scale = 1;  // of the loss sum
};

struct LossRequest {
  Tensor totals;             // f32 [3], += loss sum, weight sum, correct rows
  float gradient_scale = 1;  // multiplies the loss sum in the gradients
  float token_scale = 1;     // the same for a sum over all tokens of the step, scored or not
  bool gradients = true;     // false: evaluation
  Tensor row_losses;         // optional f32 [R]
  Tensor ranks;              // optional i32 [R], ranks of the labels (kernels/sampling/rank.h)
  int32_t ranked_token = -1; // takes the ranks of this token instead
  Tensor likeliest;          // optional i32 [R], token or class of the largest logit
  Tensor logits;             // optional f32 [N, 2], of an objective that reads all rows
  SoftTargets soft;          // optional, with gradients alone
};

class Objective {
 public:
  virtual ~Objective() = default;
  // Comes before run, with the Run that it will have. It does what must happen outside of work that a device captures.
  virtual void prepare(const Run&) {}
  // Tells whether it needs the hidden states of all rows, or of the batch's output rows alone.
  virtual bool reads_all_rows() const { return false; }
  // Adds to request.totals. With gradients it returns the gradient of the hidden states, shaped as they are, on
  // pass.arena, and adds to those of the head's parameters. Without gradients it returns an absent tensor.
  virtual Tensor run(Pass& pass, const Tensor& hidden, const DeviceBatch& batch, const LossRequest& request) = 0;
};

// Runs a model and its objective forward and, with gradients, backward. pass needs no layouts, since it gets the
// batch's.
void run_objective(Pass& pass, Model& model, Objective& objective, const DeviceBatch& batch, const LossRequest& request,
                   Model::Saved& saved);

// Takes the output rows of hidden states through a head, and back.
class HeadPass {
 public:
  HeadPass(Pass& pass, const Head& head, const Tensor& hidden, const OutputRows& outputs, bool gradients);
  // Returns the gradient of the hidden states from `dfeatures`.
  Tensor backward();

  Pass pass;  // over the output rows
  const Head& head;
  Tensor features;   // [R, E]
  Tensor dfeatures;  // [R, E], absent without gradients

 private:
  const OutputRows& outputs_;
  Shape shape_;  // shape of the hidden states
  Tensor rows_;  // [R, C]
  Head::Saved saved_;
};

// A ScoreObjective scores the features that a model's head makes of the output rows, or of all rows where it reads all.
class ScoreObjective : public Objective {
 public:
  explicit ScoreObjective(const Model& model) : head_(model.head()) {}
  Tensor run(Pass& pass, const Tensor& hidden, const DeviceBatch& batch, const LossRequest& request) override;
  // Returns the rows that it scores.
  OutputRows rows_of(const DeviceBatch& batch) const { return reads_all_rows() ? OutputRows{} : batch.outputs; }
  // Adds to request.totals. With gradients it writes rows.dfeatures and adds to the gradients of the projection.
  virtual void score(HeadPass& rows, const DeviceBatch& batch, const LossRequest& request) = 0;

 protected:
  const Head& head_;
};

// Computes the cross entropy of each output row's token or class (kernels/losses/cross_entropy.h). Labels are smoothed
// where gradients are taken, not in evaluations.
class CrossEntropyObjective final : public ScoreObjective {
 public:
  explicit CrossEntropyObjective(const Model& model, float label_smoothing = 0)
      : ScoreObjective(model), label_smoothing_(label_smoothing), thought_(model.config().thought_token) {}
  void score(HeadPass& rows, const DeviceBatch& batch, const LossRequest& request) override;

 private:
  float label_smoothing_;
  int32_t thought_;  // the token that penalties are on
};

}  // namespace engine
