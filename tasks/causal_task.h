// CausalTask: what the tasks of one decoder share. A task of this kind brings its batches and its evaluation.
#pragma once

#include "models/generation.h"
#include "tasks/language_model.h"
#include "training/loss_step.h"
#include "training/task.h"

namespace engine {

// The model and tokenizer of a task: a new model from config.model (the vocabulary that of the
// tokenizer where it is 0), or the one in config.init. `tokenizer` is null where init's is to be used. config.model
// becomes the model as it is; an option of [model] that was set and says something else is a UsageError, but for the
// rates of dropout, which are then the model's.
LanguageModel make_language_model(Config& config, const Options& options, std::unique_ptr<Tokenizer> tokenizer,
                                  Memory& memory, bool training);

// Whether an option was given and is not its default (a saved task.cfg gives every option).
bool is_changed(const Options& options, const std::string& name);

class CausalTask : public Task {
 public:
  Parameters& parameters() override { return language_.model->parameters(); }
  void run(Pass& pass, const SequenceBatch& batch, int64_t first, int64_t last, float gradient_scale,
           const Tensor& totals) override {
    step_.run(pass, batch, first, last, gradient_scale, totals);
  }
  void save_model(const std::filesystem::path& folder) override;

  CausalModel& model() { return *language_.model; }
  const Tokenizer& tokenizer() const { return *language_.tokenizer; }

 protected:
  CausalTask(const Config& config, LanguageModel language)
      : config_(config), language_(std::move(language)), step_(*language_.model, config.training.label_smoothing) {}

  // How many sequences of about `length` tokens make an optimizer step.
  int64_t sequences_a_step(int64_t length) const;

  const Config config_;
  LanguageModel language_;
  LossStep step_;
};

}  // namespace engine
