// CausalTask: what the tasks of one decoder share. A task of this kind brings its batches and its evaluation.
#pragma once

#include "models/generation.h"
#include "tasks/language_model.h"
#include "tasks/model_task.h"

namespace engine {

// The model and tokenizer of a task: a new model from config.model (the vocabulary that of the
// tokenizer where it is 0), or the one in config.init. `tokenizer` is null where init's is to be used. config.model
// becomes the model as it is; an option of [model] that was set and says something else is a UsageError, but for the
// rates of dropout, which are then the model's.
LanguageModel make_language_model(Config& config, const Options& options, std::unique_ptr<Tokenizer> tokenizer,
                                  Memory& memory, bool training);

class CausalTask : public ModelTask {
 public:
  std::string start_report() const override { return report_; }

 protected:
  CausalTask(const Config& config, LanguageModel language)
      : ModelTask(config, std::move(language.model), std::move(language.tokenizer)),
        report_(std::move(language.report)) {}

 private:
  std::string report_;
};

}  // namespace engine
