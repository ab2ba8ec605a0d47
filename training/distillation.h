// Distillation: a small encoder learns what a larger one says, as DistilBERT does (Sanh et al. 2019; Hinton et al.
// 2015).
// The loss of a step is the sum of three means, each times its weight:
//   hard    the task's own loss, over scored rows (masked tokens; sentences)
//   soft    T^2 KL(teacher || student) of the logits at the temperature T, over the same rows (soft_cross_entropy.h)
//   cosine  1 - cos of the last hidden states of student and teacher, over all tokens (cosine_loss.h)
// The teacher is run over the same tokens in the same step, without dropout and gradients.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/options.h"
#include "models/encoder_model.h"
#include "training/loss_step.h"

namespace engine {

// [distillation] of a task.cfg. The weights are DistilBERT's.
struct DistillationConfig {
  std::string teacher;              // a model folder or a run's; empty: there is none
  std::vector<std::string> layers;  // of the teacher, with which the student's begin; empty: it begins by itself
  float temperature = 2;
  float hard_weight = 2, soft_weight = 5, cosine_weight = 1;

  void declare(Options& options);
};

class Distillation final : public ExtraLoss {
 public:
  // A UsageError where the two cannot be compared: other numbers of outputs (vocabulary, classes), other widths under a
  // cosine loss, a teacher with fewer positions than `longest`, the most tokens of a sequence.
  Distillation(const DistillationConfig& config, EncoderModel& student, std::unique_ptr<EncoderModel> teacher,
               int64_t longest);

  // As LossStep::run, with `step`, which must be the student's and learns from this from then on. totals: of the hard
  // loss alone. A slice without a scored row adds nothing.
  void run(LossStep& step, Pass& pass, const SequenceBatch& batch, int64_t first, int64_t last, float gradient_scale,
           const Tensor& totals);

  // The means of soft and cosine loss since the last call; this and state() are of all ranks.
  Metrics log();
  // The sums since the last log, as text.
  std::string state() const;
  void set_state(const std::string& text);

  void begin(Pass& pass, const Tokens& tokens, const Tensor& scored_rows) override;
  void add_at_features(Pass& pass, const Tensor& features, const Tensor& dfeatures) override;
  void add_at_hidden(Pass& pass, const Tensor& hidden, const Tensor& dhidden) override;

 private:
  static constexpr int sums = 4;  // soft loss, rows, cosine loss, tokens
  std::array<float, sums> read() const;

  const DistillationConfig config_;
  EncoderModel& student_;
  std::unique_ptr<EncoderModel> teacher_;
  std::unique_ptr<Model::Saved> saved_;
  std::optional<DType> packed_for_;                 // the precision that the teacher's weights are laid out for
  Arena arena_;                                     // of what lives longer than a step
  Tensor totals_;                                   // f32 [sums], since the last log
  float soft_scale_ = 0, cosine_scale_ = 0;         // of this slice's loss sums
  Tensor teacher_features_, teacher_hidden_;        // of this slice; absent where the weight is 0
};

// Copies into a new student the teacher's embeddings (of positions those that both have), the named layers (the
// student's layer i is the teacher's layers[i]) and the head for masked tokens. A UsageError where there are not as
// many as the student has layers, or a shape differs.
void begin_with_layers(const std::vector<std::string>& layers, Ops& ops, EncoderModel& student, EncoderModel& teacher);

}  // namespace engine
