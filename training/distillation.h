// Distillation trains a small encoder on the outputs of a larger one, as DistilBERT does (Sanh et al. 2019; Hinton et
// al. 2015). The loss of a step is the sum of three means, each times its weight.
//   hard    the task's own loss, over scored rows (masked tokens; sentences; windows)
//   soft    T^2 KL(teacher || student) of the logits at the temperature T, over the same rows (soft_cross_entropy.h);
//           where an objective reads all rows, the mean of two of them over each sequence's tokens, of where an answer
//           begins and where it ends (segment_soft_cross_entropy.h)
//   cosine  1 - cos of the last hidden states of student and teacher, over all tokens (cosine_loss.h)
// The teacher runs over the same tokens in the same step, without dropout and gradients.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "core/options.h"
#include "models/objective.h"
#include "training/task.h"

namespace engine {

// [distillation] of a task.cfg has these options. The default weights are DistilBERT's.
struct DistillationConfig {
  std::string teacher;              // a model folder or a run's; empty: no teacher
  std::vector<std::string> layers;  // teacher's layers that begin the student; empty: none
  float temperature = 2;
  float hard_weight = 2, soft_weight = 5, cosine_weight = 1;

  void declare(Options& options);
};

class Distillation final : public Objective {
 public:
  // own is the task's own objective, whose loss is the hard one. Throws a UsageError where student and teacher cannot
  // be compared. They cannot where they have other numbers of outputs (vocabulary, classes), or where they have other
  // widths under a cosine loss. The teacher must have a position for every token of a sequence.
  Distillation(const DistillationConfig& config, Model& student, std::unique_ptr<Model> teacher,
               std::unique_ptr<ScoreObjective> own);

  void prepare(const Run& run) override;
  bool reads_all_rows() const override { return config_.cosine_weight > 0 || own_->reads_all_rows(); }
  // Totals are those of the hard loss alone. Without gradients it runs the task's own objective alone.
  Tensor run(Pass& pass, const Tensor& hidden, const DeviceBatch& batch, const LossRequest& request) override;

  // Returns the means of soft and cosine loss since the last call, over all ranks.
  Metrics log(Communicator& ranks);
  // Returns the sums since the last log as text, over all ranks.
  std::string state(Communicator& ranks) const;
  void set_state(const std::string& text, const Communicator& ranks);

 private:
  static constexpr int sums = 4;  // soft loss, rows (or sequences), cosine loss, tokens
  std::array<float, sums> read(Communicator& ranks) const;
  // These are the teacher's outputs for a batch, on the pass's arena. They are the features of its output rows [R, E],
  // or its logits f32 [N, 2] where all rows are read, and its hidden states f32 [N, C]. They are absent where their
  // weight is 0.
  struct Taught {
    Tensor features, logits, hidden;
  };
  Taught ask_teacher(Pass& pass, const DeviceBatch& batch);
  // Adds the soft loss and its gradients.
  void add_soft_loss(HeadPass& rows, const Tensor& teacher_features, float scale);

  const DistillationConfig config_;
  std::unique_ptr<Model> teacher_;
  std::unique_ptr<ScoreObjective> own_;
  const Head& student_head_;
  std::unique_ptr<Model::Saved> saved_;
  Arena arena_;    // memory that outlives a step
  Tensor totals_;  // f32 [sums], since the last log
};

// Copies the teacher's embeddings, the named layers (the student's layer i is the teacher's layers[i]) and the head for
// masked tokens into a new student. It copies the positions that both have. Throws a UsageError where the number of
// layers is not the student's, or a shape differs.
void begin_with_layers(const std::vector<std::string>& layers, Ops& ops, Model& student, Model& teacher);

}  // namespace engine
