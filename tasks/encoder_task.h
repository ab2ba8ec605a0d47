// An EncoderTask is the common part of tasks that train one encoder. Such a task brings its batches and its evaluation.
#pragma once

#include <functional>
#include <optional>
#include <span>

#include "models/huggingface.h"
#include "tasks/model_task.h"
#include "training/distillation.h"
#include "training/length_groups.h"

namespace engine {

struct Encoder {
  std::unique_ptr<Model> model;
  std::unique_ptr<Tokenizer> tokenizer;
  LoadReport report;  // report on init, in training
  std::unique_ptr<ScoreObjective> objective = nullptr;   // absent: the cross entropy of tokens or classes
  std::unique_ptr<Distillation> distillation = nullptr;  // has the objective; absent without a teacher
};

// The most tokens of a task's sequences, and the option that says so.
struct LongestSequence {
  const char* option;
  int64_t tokens;
};

// A task needs a head for masked tokens, for one of some classes or for answers, and perhaps tokens of its own.
struct EncoderHead {
  HeadKind head;
  std::vector<std::string> labels;               // names of the classes
  std::vector<std::string> special_tokens = {};  // that the tokenizer must have: a training adds them
};

// "(neg, pos)"
std::string text_of_classes(const std::vector<std::string>& labels);
// Whether two heads have as many classes, and the same ones as far as the second has names for them.
bool are_same_classes(const std::vector<std::string>& ours, const std::vector<std::string>& theirs);

// The model and tokenizer of a task: a new model from config.model, or the one in config.init, a model folder or a
// run's. Of init the trunk is taken, and the head where it is one for the same task: it predicts the same, and its
// classes have the same names (or no names, LABEL_0 and so on); training.new_head leaves it out. What is not taken is
// new. `tokenizer` is null where init's is to be used, with the special tokens that the task needs. config.model
// becomes the model as it is; an option of [model] that was set and says something else is a UsageError, but for the
// rates of dropout, which are then the model's.
Encoder make_encoder(Config& config, const Options& options, const EncoderHead& head,
                     std::unique_ptr<Tokenizer> tokenizer, Ops& ops, Use use);

// Gives a trained encoder the teacher that config names, if it names one, and begins a new encoder with its layers
// where some are named. Throws a UsageError where the teacher is for another task or has other tokens or classes.
// `longest` is by default data.block_size.
void add_teacher(Encoder& encoder, const DistillationConfig& distillation, const Config& config, Ops& ops,
                 std::optional<LongestSequence> longest = {});

// Returns the tokenizer that config.data.tokenizer names, with these special tokens, or null where init's is used.
std::unique_ptr<Tokenizer> tokenizer_of(const Config& config, const std::vector<std::string>& special_tokens = {});

// Returns the most tokens of a sequence, special ones included. That is `asked`, the value of an option, or where it is
// 0 as many as the model has positions and the tokenizer allows. Throws a UsageError where `asked` is more, or leaves a
// text no room.
int64_t longest_sequence(const char* option, int64_t asked, const Model& model, const Tokenizer& tokenizer);
inline int64_t longest_sequence(const Config& config, const Model& model, const Tokenizer& tokenizer) {
  return longest_sequence("data.block_size", config.data.block_size, model, tokenizer);
}

// Evaluations go through their data in pieces of this many tokens, so that it may be long.
inline constexpr size_t tokens_at_a_time = size_t{1} << 16;

// Goes through sequences of these lengths, the longest first, because the longest of a batch decides how attention is
// divided into tiles. Calls append(i, batch) for each of them, and run(batch, its sequences) for every piece.
void each_piece_by_length(const std::vector<int32_t>& lengths,
                          const std::function<void(size_t i, SequenceBatch& batch)>& append,
                          const std::function<void(const SequenceBatch& batch, std::span<const size_t> chosen)>& run);

class EncoderTask : public ModelTask {
 public:
  int64_t steps_per_epoch() const override { return plan_ ? plan_->steps_per_epoch() : 0; }
  int64_t steps(double epochs) const override { return plan_ ? plan_->steps(epochs) : 0; }
  EpochSteps epoch_of(int64_t step) override {
    const auto [first, count] = plan_->epoch_of(step);
    return {first, count};
  }
  std::string start_report() const override { return report_; }
  // Returns the losses of distillation. Its sums are part of the task's state.
  Metrics log(Machine& machine) override {
    return distillation_ ? distillation_->log(machine.communicator) : Metrics{};
  }
  void save_state(Machine& machine, const std::filesystem::path& folder) const override;
  void load_state(Machine& machine, const std::filesystem::path& folder) override;

 protected:
  EncoderTask(const Config& config, Encoder encoder);
  // Plans the epochs of a training over sequences of these lengths, which an epoch takes as often as the shares say (no
  // shares: once).
  void plan_epochs(std::vector<int32_t> lengths, std::vector<float> shares = {});

  std::unique_ptr<EpochPlan> plan_;  // absent in an evaluation

 private:
  Distillation* distillation_;  // objective, where there is a teacher
  std::string report_;
};

}  // namespace engine
