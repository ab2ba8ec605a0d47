#include "tasks/thought/thought.h"

#include <algorithm>

#include "core/error.h"
#include "models/huggingface.h"
#include "tasks/thought/chase_task.h"
#include "tasks/thought/text_task.h"
#include "training/thought_runner.h"

namespace engine {

namespace {

constexpr int64_t sequences_at_once = 64;

// Returns the way in which rows are run; null: the model's own.
std::unique_ptr<BatchRunner> runner_of(Model& model, const ThoughtConfig& own) {
  if (own.recurrence != "passes") return nullptr;
  return make_thought_runner(model, {.is_exact = false, .passes = own.unroll, .detached = own.detach,
                                     .begins_exact = own.initial == "exact"});
}

// Tells whether this use of the task puts thoughts anywhere. A model that has no room for one can do without else.
bool needs_thoughts(const Config& config, const ThoughtConfig& own, bool training) {
  const bool inserts = own.count > 0 && own.places != "none" && !config.data.eval.empty();
  return training || own.recurrence != "none" || inserts || own.before_completion > 0;
}

// Returns the tokenizer of a model in init with the thought as its token. Null means that there is no row for one, and
// no need.
std::unique_ptr<Tokenizer> tokenizer_of_init(const Config& config, const ThoughtConfig& own, bool training) {
  const std::filesystem::path folder = open_run(config.init).model;
  std::unique_ptr<Tokenizer> tokenizer = choose_tokenizer(config, training, {own.token});
  if (!tokenizer) tokenizer = load_tokenizer(folder, {.special_tokens = {own.token}});
  const int64_t rows = read_model_config(folder).vocab_size;
  const int64_t before = load_tokenizer(folder)->vocab_size();
  if (tokenizer->vocab_size() <= rows || before > rows) return tokenizer;
  if (!needs_thoughts(config, own, training)) return nullptr;
  fail_usage("thought.token \"", own.token, "\" has no place: the vocabulary of the model in init = \"", config.init,
             "\" has ", rows, " rows, and its tokenizer as many tokens: name one of its special tokens, or take a ",
             "model with a padded vocabulary");
}

std::unique_ptr<Tokenizer> text_tokenizer(const Config& config, const ThoughtConfig& own, bool training) {
  if (!config.init.empty()) return tokenizer_of_init(config, own, training);
  return choose_tokenizer(config, training, {own.token});
}

std::unique_ptr<Tokenizer> chase_tokenizer(const Config& config, const ThoughtConfig& own) {
  std::unique_ptr<Tokenizer> tokenizer = make_chase_tokenizer(own.nodes, own.hops, own.token);
  if (config.init.empty()) return tokenizer;
  if (load_tokenizer(open_run(config.init).model)->digest() != tokenizer->digest())
    fail_usage("the model in init = \"", config.init, "\" has another vocabulary than that of thought.nodes = ",
               own.nodes, ", thought.hops = ", own.hops, " and thought.token = \"", own.token,
               "\": set these as they were when it was trained");
  return tokenizer;
}

}  // namespace

ThoughtTask::ThoughtTask(const Config& config, const ThoughtConfig& own, LanguageModel language)
    : CausalTask(config, std::move(language), runner_of(*language.model, own)),
      own_(own),
      thought_(tokenizer().id_of(own.token).value_or(-1)) {}

std::unique_ptr<CachedScorer> ThoughtTask::make_scorer(Machine& machine) const {
  return std::make_unique<CachedScorer>(machine.ops, model(), machine.compute);
}

std::unique_ptr<Generator> ThoughtTask::make_generator(Machine& machine, int64_t sequences) const {
  const auto at_once = static_cast<int>(std::clamp<int64_t>(sequences, 1, sequences_at_once));
  return std::make_unique<Generator>(machine.ops, model(), machine.compute, at_once);
}

namespace {

// A model whose state is its cells cannot go back to a token before its last one, nor read a text in both directions.
void check_cells(const ModelConfig& model, const ThoughtConfig& own) {
  if (!own.is_text() || architecture_of(model).has_attention) return;
  const char* const option = own.searches()      ? "thought.places = \"searched\""
                             : own.expectation ? "thought.expectation"
                             : own.prefix_lm   ? "thought.prefix_lm"
                                               : nullptr;
  if (option)
    fail_usage(option, " needs an architecture with attention, and model.architecture is ", model.architecture);
}

}  // namespace

std::unique_ptr<Task> make_thought_task(Config& config, const ThoughtConfig& own, const Options& options, Ops& ops,
                                        Use use) {
  const bool training = use == Use::training;
  if (own.token.empty()) fail_usage("thought.token is empty: a special token such as \"<|dense|>\"");
  if (architecture_of(config.model).kind != ModelKind::decoder)
    fail_usage("model.architecture is ", config.model.architecture, ": task thought trains decoders alone, ",
               architecture_names({ModelKind::decoder}));
  const bool is_text = own.is_text();
  if (is_text && training && config.data.train.empty())
    fail_usage("data.train is missing: a text file or a list of them, such as --data.train input.txt");
  for (const std::vector<std::string>* files : {&config.data.train, &config.data.eval})
    if (!is_text && !files->empty())
      fail_usage("data.", files == &config.data.train ? "train" : "eval",
                 ": thought.data = \"chase\" makes its own problems, and reads no file");
  auto tokenizer = is_text ? text_tokenizer(config, own, training) : chase_tokenizer(config, own);
  if (tokenizer) config.model.thought_token = tokenizer->id_of(own.token).value_or(-1);
  if (own.recurrence != "none") {
    require(config.model.thought_token >= 0, "a recurrence needs a thought");
    config.model.thought_states = true;
    config.model.thought_norm = own.norm;
  }
  LanguageModel language =
      make_language_model(config, options, std::move(tokenizer), ops, use, {own.token});
  if (reads_source(*language.model))
    fail_usage("the model in init = \"", config.init, "\" reads a source: task thought trains decoders alone");
  check_cells(config.model, own);
  if (own.recurrence == "none" && language.model->thought_states())
    fail_usage("thought.recurrence is \"none\", but the model in init = \"", config.init, "\" has thought states");
  if (!is_text) return std::make_unique<ChaseTask>(config, own, std::move(language));
  return std::make_unique<ThoughtTextTask>(config, own, std::move(language), training);
}

}  // namespace engine
