#include "tasks/causal_task.h"

#include "core/error.h"
#include "models/huggingface.h"
#include "tasks/documents.h"
#include "training/machine.h"

namespace engine {

namespace {

// A model without thought states learns which token is a thought, and may get such states. Those that it has stay.
void take_thought_states(ModelConfig& model, const ModelConfig& wanted, const std::string& init) {
  if (!model.thought_states) {
    model.thought_token = wanted.thought_token;
    model.thought_states = wanted.thought_states;
    model.thought_norm = wanted.thought_norm;
  }
  if (!wanted.thought_states) return;
  if (model.thought_norm != wanted.thought_norm)
    fail_usage("thought.norm is ", wanted.thought_norm ? "true" : "false",
               ", but the thought states of the model in init = \"", init, "\" have ", model.thought_norm ? "a" : "no",
               " layernorm");
  if (model.thought_token != wanted.thought_token)
    fail_usage("thought.token is the token ", wanted.thought_token,
               ", but the thought states of the model in init = \"", init, "\" stand at the token ",
               model.thought_token);
}

}  // namespace

std::unique_ptr<Tokenizer> choose_tokenizer(const Config& config, bool training,
                                            const std::vector<std::string>& special_tokens) {
  const std::string& choice = config.data.tokenizer;
  // A trained model has its tokenizer beside it.
  if (!config.init.empty() && (choice.empty() || !training)) return nullptr;
  if (choice.empty())
    fail_usage(
        "data.tokenizer is missing: a folder with a tokenizer, or \"characters\" for those of the training text");
  if (choice != "characters") return load_tokenizer(choice, {.special_tokens = special_tokens});
  if (!config.init.empty())
    fail_usage("data.tokenizer = \"characters\" makes a new vocabulary, which the model in init = \"", config.init,
               "\" does not know: leave data.tokenizer out, or init");
  return make_tokenizer_of_characters(config.data.train, special_tokens);
}

LanguageModel make_language_model(Config& config, const Options& options, std::unique_ptr<Tokenizer> tokenizer,
                                  Ops& ops, Use use,
                                  const std::vector<std::string>& special_tokens) {
  const bool training = use == Use::training;
  LanguageModel language;
  if (training && config.training.new_head)
    fail_usage("training.new_head is for models with a head of their own: that of task ", config.task,
               " is the token embedding");
  if (!config.init.empty()) {
    const std::filesystem::path folder = open_run(config.init).model;
    LoadReport report;
    language.model = load_model(folder, ops.memory(), training,
                                {.kinds = generating_kinds,
                                 .seed = config.seed,
                                 .matrices = matrices_for(use, config, ops),
                                 .adjust =
                                     [&](ModelConfig& model) {
                                       set_dropout(model, config.model, options);
                                       take_thought_states(model, config.model, config.init);
                                     },
                                 .report = &report});
    if (!report.left_out.empty() || !report.fresh.empty())
      language.report = "from " + config.init + ": " + report.text();
    language.tokenizer = tokenizer ? std::move(tokenizer) : load_tokenizer(folder);
    if (training) check_against_init(config.model, language.model->config(), options, config.init);
    config.model = language.model->config();
    check_vocabulary(config, *language.tokenizer, folder, special_tokens);
    check_generation(config.generation, *language.model);
    return language;
  }
  require(training, "evaluation needs a model: name a run folder or a model folder");
  require(tokenizer != nullptr, "a new model needs a tokenizer");
  language.tokenizer = std::move(tokenizer);
  set_vocabulary(config.model, *language.tokenizer);
  language.model = make_model(config.model, generating_kinds);
  config.model = language.model->config();
  check_generation(config.generation, *language.model);
  language.model->parameters().allocate(ops.memory(), /*with_gradients=*/true);
  language.model->parameters().initialise(config.seed);
  return language;
}

}  // namespace engine
