// ModelTask: the common part of tasks that train one model on batches of sequences. A task of this kind brings its
// batches and its evaluation.
#pragma once

#include <string_view>

#include "models/model.h"
#include "text/tokenizer.h"
#include "training/loss_step.h"
#include "training/task.h"

namespace engine {

class ModelTask : public Task {
 public:
  Parameters& parameters() override { return model_->parameters(); }
  BatchLoss& loss() override { return step_; }
  void save_model(const std::filesystem::path& folder) override;

  Model& model() const { return *model_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }

 protected:
  // objective: null for the cross entropy of tokens or classes.
  ModelTask(const Config& config, std::unique_ptr<Model> model, std::unique_ptr<Tokenizer> tokenizer,
            std::unique_ptr<Objective> objective = nullptr)
      : config_(config),
        model_(std::move(model)),
        tokenizer_(std::move(tokenizer)),
        step_(*model_, objective ? std::move(objective)
                                 : std::make_unique<CrossEntropyObjective>(*model_, config.training.label_smoothing)) {}

  // How many sequences of about `length` tokens make an optimizer step.
  int64_t sequences_a_step(int64_t length) const;

  const Config config_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Tokenizer> tokenizer_;
  LossStep step_;
};

// The rates of dropout are no part of a model's weights: those that were set count, else those that it came with.
void set_dropout(ModelConfig& model, const ModelConfig& asked, const Options& options);

// The first id that is another token in one than in the other, or is in one of them alone; -1: they have the same.
int32_t first_difference(const Tokenizer& a, const Tokenizer& b);

// A UsageError where the tokenizer of a model from init, which is in `folder`, has tokens that the model does not know,
// or where data.tokenizer has other tokens than the tokenizer in `folder`, if there is one.
void check_vocabulary(const Config& config, const Tokenizer& tokenizer, const std::filesystem::path& folder);

// Of a new model: its vocabulary is the tokenizer's where it is 0, and its special tokens are.
void set_vocabulary(ModelConfig& model, const Tokenizer& tokenizer);

// "tokenizer 0123..." : how a fingerprint begins.
std::string fingerprint_of(const Tokenizer& tokenizer);

}  // namespace engine
