#include "tasks/model_task.h"

#include <algorithm>
#include <cctype>

#include "core/error.h"
#include "core/hash.h"
#include "tasks/language_model.h"

namespace engine {

Reading ModelTask::reading() const {
  const ModelConfig& config = model_->config();
  return {.token = [this](int32_t id) { return tokenizer_->decode({&id, 1}); },
          .classes = config.head == HeadKind::classification ? config.labels : std::vector<std::string>()};
}

void ModelTask::save_model(const std::filesystem::path& folder) {
  std::string dtype = config_.training.save_dtype;
  std::transform(dtype.begin(), dtype.end(), dtype.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  save_language_model(folder, *model_, *tokenizer_, dtype);
}

int64_t ModelTask::sequences_a_step(int64_t length) const {
  const TrainingConfig& training = config_.training;
  return training.batch_tokens ? std::max<int64_t>(1, training.batch_tokens / length) : training.batch_size;
}

void set_dropout(ModelConfig& model, const ModelConfig& asked, const Options& options) {
  if (options.was_set("model.dropout")) model.dropout = asked.dropout;
  if (options.was_set("model.attention_dropout")) model.attention_dropout = asked.attention_dropout;
  if (options.was_set("model.classifier_dropout") && asked.classifier_dropout >= 0)
    model.classifier_dropout = asked.classifier_dropout;
  if (options.was_set("model.span_dropout")) model.span_dropout = asked.span_dropout;
  model.own.take_dropouts(asked.own, options);
}

int32_t first_difference(const Tokenizer& a, const Tokenizer& b) {
  const int32_t shared = std::min(a.vocab_size(), b.vocab_size());
  for (int32_t id = 0; id < shared; ++id)
    if (a.token(id) != b.token(id)) return id;
  return a.vocab_size() == b.vocab_size() ? -1 : shared;
}

void check_vocabulary(const Config& config, const Tokenizer& tokenizer, const std::filesystem::path& folder,
                      const std::vector<std::string>& special_tokens) {
  if (tokenizer.vocab_size() > config.model.vocab_size)
    fail_usage(config.data.tokenizer.empty() ? "its tokenizer" : "data.tokenizer \"" + config.data.tokenizer + "\"",
               " has ", tokenizer.vocab_size(), " tokens, the model in init = \"", config.init, "\" only ",
               config.model.vocab_size);
  if (config.data.tokenizer.empty() || !has_tokenizer(folder)) return;
  const std::unique_ptr<Tokenizer> own = load_tokenizer(folder, {.special_tokens = special_tokens});
  const int32_t id = first_difference(tokenizer, *own);
  if (id < 0) return;
  const auto shown = [&](const Tokenizer& one) {
    return id < one.vocab_size() ? one.token(id) : std::string("none");
  };
  fail_usage("data.tokenizer \"", config.data.tokenizer, "\" has other tokens than the model in init = \"", config.init,
             "\" learned: token ", id, " is ", shown(tokenizer), ", there ", shown(*own), ": leave data.tokenizer out");
}

void set_vocabulary(ModelConfig& model, const Tokenizer& tokenizer) {
  if (model.vocab_size == 0) model.vocab_size = tokenizer.vocab_size();
  if (model.vocab_size < tokenizer.vocab_size())
    fail_usage("model.vocab_size is ", model.vocab_size, ", but the tokenizer has ", tokenizer.vocab_size(),
               " tokens: 0 takes as many as it has");
  model.bos_token = tokenizer.begin_token();
  model.eos_tokens.clear();
  model.generation_ends.clear();
  if (tokenizer.end_token() >= 0) model.eos_tokens.push_back(tokenizer.end_token());
  model.pad_token = tokenizer.pad_token();
}

std::string fingerprint_of(const Tokenizer& tokenizer) { return "tokenizer " + hexadecimal(tokenizer.digest()); }

}  // namespace engine
