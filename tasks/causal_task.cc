#include "tasks/causal_task.h"

#include <algorithm>
#include <cctype>

#include "core/error.h"
#include "models/huggingface.h"

namespace engine {

namespace {

// Where weights come from init, so does the model's shape: what [model] says besides must be the same.
void check_against_init(const ModelConfig& asked, const ModelConfig& model, const Options& options,
                        const std::string& init) {
  const auto check = [&](const char* name, const auto& wanted, const auto& there) {
    if (options.was_set(std::string("model.") + name) && wanted != there)
      fail_usage("model.", name, " is ", wanted, ", but the model in init = \"", init, "\" has ", there,
                 ": leave it out, or leave out init");
  };
  check("architecture", asked.architecture, model.architecture);
  check("hidden_size", asked.hidden_size, model.hidden_size);
  check("num_layers", asked.num_layers, model.num_layers);
  check("num_heads", asked.num_heads, model.num_heads);
  check("ffn_size", asked.inner_size(), model.inner_size());
  check("max_positions", asked.max_positions, model.max_positions);
  check("activation", asked.activation, model.activation);
  check("initializer_range", asked.initializer_range, model.initializer_range);
  check("layer_norm_epsilon", asked.layer_norm_epsilon, model.layer_norm_epsilon);
  if (asked.vocab_size) check("vocab_size", asked.vocab_size, model.vocab_size);
}

}  // namespace

LanguageModel make_language_model(Config& config, const Options& options, std::unique_ptr<Tokenizer> tokenizer,
                                  Memory& memory, bool training) {
  LanguageModel language;
  if (!config.init.empty()) {
    // Rates of dropout are no part of the weights: those that were set count, else those that the model came with.
    const ModelConfig asked = config.model;
    language.model = load_causal_model(config.init, memory, training, [&](ModelConfig& model) {
      if (options.was_set("model.dropout")) model.dropout = asked.dropout;
      if (options.was_set("model.attention_dropout")) model.attention_dropout = asked.attention_dropout;
    });
    language.tokenizer = tokenizer ? std::move(tokenizer) : load_tokenizer(config.init);
    if (training) check_against_init(config.model, language.model->config(), options, config.init);
    config.model = language.model->config();
    if (language.tokenizer->vocab_size() > config.model.vocab_size)
      fail_usage(config.data.tokenizer.empty() ? "its tokenizer" : "data.tokenizer \"" + config.data.tokenizer + "\"",
                 " has ", language.tokenizer->vocab_size(), " tokens, the model in init = \"", config.init, "\" only ",
                 config.model.vocab_size);
    return language;
  }
  require(training, "evaluation needs a model: name a run folder or a model folder");
  require(tokenizer != nullptr, "a new model needs a tokenizer");
  language.tokenizer = std::move(tokenizer);
  ModelConfig& model = config.model;
  if (model.vocab_size == 0) model.vocab_size = language.tokenizer->vocab_size();
  if (model.vocab_size < language.tokenizer->vocab_size())
    fail_usage("model.vocab_size is ", model.vocab_size, ", but the tokenizer has ", language.tokenizer->vocab_size(),
               " tokens: 0 takes as many as it has");
  model.bos_token = language.tokenizer->begin_token();
  model.eos_token = language.tokenizer->end_token();
  model.pad_token = language.tokenizer->pad_token();
  language.model = make_causal_model(model);
  language.model->parameters().allocate(memory, /*with_gradients=*/true);
  language.model->parameters().initialise(config.seed);
  return language;
}

bool is_changed(const Options& options, const std::string& name) {
  for (const Options::Option& option : options.all())
    if (option.name == name) return option.set && option.text() != option.default_text;
  fail("no option is named ", name);
}

void CausalTask::save_model(const std::filesystem::path& folder) {
  std::string dtype = config_.training.save_dtype;
  std::transform(dtype.begin(), dtype.end(), dtype.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  save_language_model(folder, *language_.model, *language_.tokenizer, dtype);
}

int64_t CausalTask::sequences_a_step(int64_t length) const {
  const TrainingConfig& training = config_.training;
  return training.batch_tokens ? std::max<int64_t>(1, training.batch_tokens / length) : training.batch_size;
}

}  // namespace engine
