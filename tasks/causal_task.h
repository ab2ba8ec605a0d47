// A CausalTask is the common part of tasks that train one decoder. Such a task brings its batches and its evaluation.
#pragma once

#include "models/generation.h"
#include "tasks/language_model.h"
#include "tasks/model_task.h"

namespace engine {

// Returns the tokenizer that data.tokenizer names, a folder's or one of the characters of data.train. Special tokens
// are added to it where it lacks them. Null means the one of init.
std::unique_ptr<Tokenizer> choose_tokenizer(const Config& config, bool training,
                                            const std::vector<std::string>& special_tokens = {});

// Makes the model and tokenizer of a task. The model is a new one from config.model (with the tokenizer's vocabulary
// where its own is 0), or the one in config.init. `tokenizer` is null where init's is used. config.model becomes the
// model as it is. A set option of [model] that contradicts it is a UsageError, except for the rates of dropout, which
// the model takes. special_tokens are those that `tokenizer` may have beside init's.
LanguageModel make_language_model(Config& config, const Options& options, std::unique_ptr<Tokenizer> tokenizer,
                                  Ops& ops, Use use,
                                  const std::vector<std::string>& special_tokens = {});

class CausalTask : public ModelTask {
 public:
  std::string start_report() const override { return report_; }

 protected:
  CausalTask(const Config& config, LanguageModel&& language, std::unique_ptr<BatchRunner> runner = nullptr)
      : ModelTask(config, std::move(language.model), std::move(language.tokenizer), nullptr, std::move(runner)),
        report_(std::move(language.report)) {}

 private:
  std::string report_;
};

}  // namespace engine
