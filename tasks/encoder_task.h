// An EncoderTask is the common part of tasks that train one encoder. Such a task brings its batches and its evaluation.
#pragma once

#include "models/huggingface.h"
#include "tasks/model_task.h"
#include "training/distillation.h"

namespace engine {

struct Encoder {
  std::unique_ptr<Model> model;
  std::unique_ptr<Tokenizer> tokenizer;
  LoadReport report;  // report on init, in training
  std::unique_ptr<Distillation> distillation;  // objective; absent without a teacher
};

// A task needs a head for masked tokens, or for one of some classes.
struct EncoderHead {
  HeadKind head;
  std::vector<std::string> labels;  // names of the classes
};

// "(neg, pos)"
std::string text_of_classes(const std::vector<std::string>& labels);
// Whether two heads have as many classes, and the same ones as far as the second has names for them.
bool are_same_classes(const std::vector<std::string>& ours, const std::vector<std::string>& theirs);

// The model and tokenizer of a task: a new model from config.model, or the one in config.init, a model folder or a
// run's. Of init the trunk is taken, and the head where it is one for the same task: it predicts the same, and its
// classes have the same names (or no names, LABEL_0 and so on); training.new_head leaves it out. What is not taken is
// new. `tokenizer` is null where init's is to be used. config.model becomes the model as it is; an option of [model]
// that was set and says something else is a UsageError, but for the rates of dropout, which are then the model's.
Encoder make_encoder(Config& config, const Options& options, const EncoderHead& head,
                     std::unique_ptr<Tokenizer> tokenizer, Memory& memory, bool training);

// Gives a trained encoder the teacher that config names, if it names one, and begins a new encoder with its layers
// where some are named. Throws a UsageError where the teacher is for another task or has other tokens or classes.
void add_teacher(Encoder& encoder, const DistillationConfig& distillation, const Config& config, Ops& ops);

// Returns the tokenizer that config.data.tokenizer names, or null where init's is used.
std::unique_ptr<Tokenizer> tokenizer_of(const Config& config);

// Returns the most tokens of a sequence, special ones included. That is data.block_size, else as many as the model has
// positions and the tokenizer allows. Throws a UsageError where data.block_size is more, or leaves a text no room.
int64_t longest_sequence(const Config& config, const Model& model, const Tokenizer& tokenizer);

class EncoderTask : public ModelTask {
 public:
  std::string start_report() const override { return report_; }
  // Returns the losses of distillation. Its sums are part of the task's state.
  Metrics log(Machine& machine) override {
    return distillation_ ? distillation_->log(machine.communicator) : Metrics{};
  }
  void save_state(Machine& machine, const std::filesystem::path& folder) const override;
  void load_state(Machine& machine, const std::filesystem::path& folder) override;

 protected:
  // Without `objective`, which makes one for the encoder's model, it is the distillation's, or else the cross entropy.
  EncoderTask(const Config& config, Encoder encoder,
              std::unique_ptr<Objective> (*objective)(const Encoder& encoder) = nullptr);

 private:
  EncoderTask(const Config& config, Encoder& encoder, std::unique_ptr<Objective> objective);

  Distillation* distillation_;  // objective, where there is a teacher
  std::string report_;
};

}  // namespace engine
