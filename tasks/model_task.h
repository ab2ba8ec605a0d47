// A ModelTask is the common part of tasks that train one model on batches of sequences. Such a task brings its batches
// and its evaluation.
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
  Reading reading() const override;
  void save_model(const std::filesystem::path& folder) override;

  Model& model() const { return *model_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }

 protected:
  // A null objective means the cross entropy of tokens or classes, and a null runner the model's own (make_runner).
  ModelTask(const Config& config, std::unique_ptr<Model> model, std::unique_ptr<Tokenizer> tokenizer,
            std::unique_ptr<Objective> objective = nullptr, std::unique_ptr<BatchRunner> runner = nullptr)
      : config_(config),
        model_(std::move(model)),
        tokenizer_(std::move(tokenizer)),
        step_(*model_, objective ? std::move(objective)
                                 : std::make_unique<CrossEntropyObjective>(*model_, config.training.label_smoothing),
              std::move(runner)) {}

  // Returns how many sequences of about `length` tokens make an optimizer step.
  int64_t sequences_a_step(int64_t length) const;

  const Config config_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Tokenizer> tokenizer_;
  LossStep step_;
};

// The rates of dropout are no part of a model's weights. Set rates count, else those that the model came with.
void set_dropout(ModelConfig& model, const ModelConfig& asked, const Options& options);

// Returns the first id whose tokens differ or that only one of them has, or -1 where they have the same tokens.
int32_t first_difference(const Tokenizer& a, const Tokenizer& b);

// Throws a UsageError where the tokenizer of a model from init, which is in `folder`, has tokens that the model does
// not know, or where data.tokenizer has other tokens than the tokenizer in `folder`, if there is one,
// with these special tokens.
void check_vocabulary(const Config& config, const Tokenizer& tokenizer, const std::filesystem::path& folder,
                      const std::vector<std::string>& special_tokens = {});

// Gives a new model the tokenizer's vocabulary where its own is 0, and the tokenizer's special tokens.
void set_vocabulary(ModelConfig& model, const Tokenizer& tokenizer);

// Returns "tokenizer 0123...", with which a fingerprint begins.
std::string fingerprint_of(const Tokenizer& tokenizer);

}  // namespace engine
