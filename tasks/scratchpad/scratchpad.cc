#include "tasks/scratchpad/scratchpad.h"

#include <algorithm>
#include <charconv>
#include <iomanip>
#include <numeric>
#include <sstream>

#include "core/error.h"
#include "core/hash.h"

namespace engine {

namespace {

using Split = ExpressionSource::Split;

// The same expressions are evaluated whatever the run's seed, so that runs can be compared.
constexpr uint64_t evaluation_seed = 453345;
// Keeps the draws of training examples apart from every other use of the seed.
constexpr uint64_t training_stream = uint64_t{0x7363} << 48;
constexpr size_t rows_a_level = 8;  // of the table of samples
constexpr size_t widest_cell = 56;
constexpr int sequences_at_once = 256;

ExpressionLimits limits_of(const ScratchpadConfig& own, const ModelConfig& model) {
  return {
      .max_answer_length = own.max_answer_length,
      .max_total_length = own.max_total_length,
      .max_sequence_length = static_cast<int>(std::min<int64_t>(model.max_positions - 2, 1 << 20)),  // <start>, <eos>
      .held_out = own.held_out};
}

// A model that has not learned to stop writes on and on.
std::string shortened(const std::string& text) {
  return text.size() <= widest_cell ? text : text.substr(0, widest_cell - 3) + "...";
}

std::string percent(size_t part, size_t all) {
  std::ostringstream text;
  text << std::fixed << std::setprecision(1) << 100.0 * static_cast<double>(part) / static_cast<double>(all) << " %";
  return text.str();
}

}  // namespace

void ScratchpadConfig::declare(Options& options) {
  options.add("scratchpad.explanation", explanation, one_of({"oracle", "none"}),
              "what the model answers with: oracle: every step written out; none: the value alone");
  options.add("scratchpad.mixture", mixture,
              "\"level:parts\" for each level trained on: what part of the examples has it");
  options.add("scratchpad.max_depth", max_depth, between(1, 6), "the deepest level that is evaluated");
  options.add("scratchpad.max_answer_length", max_answer_length, between(1, 9),
              "digits of every value in an expression, its sign not counted");
  options.add("scratchpad.max_total_length", max_total_length, at_least(6), "tokens of a written out expression");
  options.add("scratchpad.eval_quantity", eval_quantity, at_least(1),
              "expressions evaluated of each level; of level 1 there are 300");
  options.add("scratchpad.held_out", held_out, at_least(2),
              "one in this many expressions of level 2 is kept for evaluation, and so is all that contains one");
}

Mixture::Mixture(const std::vector<std::string>& text) {
  for (const std::string& entry : text) {
    const size_t colon = entry.find(':');
    int level = -1;
    uint32_t part = 0;
    const char* end = entry.data() + entry.size();
    const auto read = [](const char* from, const char* to, auto& number) {
      const auto result = std::from_chars(from, to, number);
      return result.ec == std::errc{} && result.ptr == to;
    };
    const bool good = colon != std::string::npos && read(entry.data(), entry.data() + colon, level) &&
                      read(entry.data() + colon + 1, end, part) && 0 <= level && level <= 6 && 1 <= part &&
                      part <= 1000000;
    if (!good)
      fail_usage("scratchpad.mixture: \"", entry,
                 "\" is not level:parts, such as \"2:9\" (level 0 to 6, parts from 1)");
    if (has(level)) fail_usage("scratchpad.mixture: level ", level, " is there twice");
    levels.push_back(level);
    parts.push_back(part);
    total += part;
  }
  if (levels.empty()) fail_usage("scratchpad.mixture is empty: name at least one level, such as \"1:1\"");
}

int Mixture::draw(Random& random) const {
  uint32_t at = random.below(total);
  size_t i = 0;
  for (; at >= parts[i]; ++i) at -= parts[i];
  return levels[i];
}

bool Mixture::has(int level) const { return std::find(levels.begin(), levels.end(), level) != levels.end(); }

std::string final_value(const std::string& generated) {
  const size_t equals = generated.rfind('=');
  if (equals == std::string::npos) return generated;
  std::string value = generated.substr(equals + 1);
  if (!value.empty() && value.back() == ')') value.pop_back();
  return value;
}

ScratchpadTask::ScratchpadTask(const Config& config, const ScratchpadConfig& own, LanguageModel language)
    : CausalTask(config, std::move(language)),
      own_(own),
      mixture_(own.mixture),
      source_(limits_of(own, model().config())) {
  const auto start = tokenizer().id_of("<start>");
  if (!start || tokenizer().end_token() < 0)
    fail_usage("task scratchpad needs the tokenizer of arithmetic, with <start> and <eos>: this model's has none");
  start_ = *start;
  look_up_characters();
  for (int level = 1; level <= own.max_depth; ++level)
    evaluated_.push_back(source_.sample(evaluation_seed, level, Split::evaluation,
                                        static_cast<size_t>(own.eval_quantity), evaluated_pool_));
  // Levels that cannot be drawn are found now, not in the middle of a run.
  Random random(evaluation_seed, training_stream);
  for (int level : mixture_.levels) source_.draw(random, level, Split::training, drawn_pool_);
  SequenceBatch first;
  batch_of(0, first);
  const std::string_view tokens(reinterpret_cast<const char*>(first.tokens.data()), first.tokens.size() * sizeof(int));
  fingerprint_ = "tokenizer " + hexadecimal(tokenizer().digest()) + ", expressions " + hexadecimal(hash_of(tokens));
}

void ScratchpadTask::look_up_characters() {
  const std::string_view characters = "0123456789+-*()=";
  const std::vector<int32_t> ids = tokenizer().encode(characters);
  for (size_t i = 0; i < characters.size(); ++i) {
    const auto id = tokenizer().id_of(characters.substr(i, 1));
    if (!id || ids.size() != characters.size() || *id != ids[i])
      fail_usage("task scratchpad needs the tokenizer of arithmetic: this model's has no token for \"",
                 characters.substr(i, 1), "\" alone");
    ids_[static_cast<size_t>(characters[i])] = *id;
  }
}

std::string ScratchpadTask::target(const Expression& expression) const {
  return own_.explanation == "oracle" ? expression.oracle() : std::to_string(expression.value);
}

void ScratchpadTask::append(const Expression& expression, SequenceBatch& batch) const {
  const auto put = [&](std::string_view part) {
    for (const char c : part) batch.tokens.push_back(ids_[static_cast<size_t>(c)]);
  };
  write_input(expression, put);
  batch.tokens.push_back(start_);
  const size_t target_begin = batch.tokens.size();
  if (own_.explanation == "oracle")
    write_oracle(expression, put);
  else
    write_value(expression.value, put);
  // The end token is only predicted: nothing follows it, so it is no input.
  batch.labels.resize(batch.tokens.size(), -100);
  std::copy(batch.tokens.begin() + static_cast<ptrdiff_t>(target_begin), batch.tokens.end(),
            batch.labels.begin() + static_cast<ptrdiff_t>(target_begin) - 1);
  batch.labels.back() = tokenizer().end_token();
  batch.end_sequence();
}

void ScratchpadTask::batch_of(int64_t step, SequenceBatch& batch) {
  Random random(config_.seed, training_stream | static_cast<uint64_t>(step));
  batch.clear();
  // Room for the longest batch there can be, so that no later step needs more.
  const int64_t longest = model().config().max_positions, batch_tokens = config_.training.batch_tokens;
  const int64_t sequences = batch_tokens ? batch_tokens : config_.training.batch_size;
  const int64_t tokens = batch_tokens ? batch_tokens + longest : sequences * longest;
  batch.tokens.reserve(static_cast<size_t>(tokens));
  batch.labels.reserve(static_cast<size_t>(tokens));
  batch.offsets.reserve(static_cast<size_t>(sequences) + 1);
  const auto full = [&] {
    return batch_tokens ? static_cast<int64_t>(batch.tokens.size()) >= batch_tokens : batch.sequences() >= sequences;
  };
  do {
    drawn_pool_.release(0);
    append(*source_.draw(random, mixture_.draw(random), Split::training, drawn_pool_), batch);
  } while (!full());
}

std::vector<ScratchpadTask::Answer> ScratchpadTask::answer(Machine& machine,
                                                           const std::vector<const Expression*>& expressions) const {
  std::vector<std::vector<int32_t>> prompts;
  for (const Expression* expression : expressions) prompts.push_back(encode_prompt(tokenizer(), expression->input()));
  Generator generator(machine.ops, model(), machine.compute, sequences_at_once);
  const int longest = own_.explanation == "oracle" ? own_.max_total_length : own_.max_answer_length + 1;
  const auto generated =
      generator.generate(prompts, {.max_new_tokens = longest + 1, .end_token = tokenizer().end_token()});
  std::vector<Answer> answers;
  for (size_t i = 0; i < expressions.size(); ++i) {
    Answer a{expressions[i], tokenizer().decode(generated[i], /*skip_special_tokens=*/true)};
    std::erase(a.generated, ' ');
    a.right = final_value(a.generated) == std::to_string(a.expression->value);
    a.whole = a.generated == target(*a.expression);
    answers.push_back(std::move(a));
  }
  return answers;
}

std::vector<std::string> ScratchpadTask::metric_names() const {
  std::vector<std::string> names{"exact_match", "exact_match_whole_text"};
  for (int level = 1; level <= own_.max_depth; ++level) names.push_back("exact_match_level_" + std::to_string(level));
  // The loss is of the levels that are trained on.
  for (int level = 1; level <= own_.max_depth; ++level)
    if (mixture_.has(level)) return names.push_back("loss"), names;
  return names;
}

Metrics ScratchpadTask::evaluate(Machine& machine, std::string& samples) {
  SequenceBatch batch;
  std::vector<const Expression*> expressions;
  for (const auto& level : evaluated_) {
    expressions.insert(expressions.end(), level.begin(), level.end());
    if (mixture_.has(level.front()->level))
      for (const Expression* e : level) append(*e, batch);
  }
  Metrics metrics;
  if (batch.sequences() > 0) {
    const LossTotals totals = step_.evaluate(machine, batch);
    metrics.emplace_back("loss", totals.loss / totals.scored);
  }
  const std::vector<Answer> answers = answer(machine, expressions);
  samples = table(answers);
  Metrics by_level;
  double right = 0, whole = 0, all = 0;
  for (size_t at = 0, i = 0; i < evaluated_.size(); at += evaluated_[i].size(), ++i) {
    const auto begin = answers.begin() + static_cast<ptrdiff_t>(at),
               end = begin + static_cast<ptrdiff_t>(evaluated_[i].size());
    const auto count = static_cast<double>(evaluated_[i].size());
    const auto right_here = static_cast<double>(std::count_if(begin, end, [](const Answer& a) { return a.right; }));
    by_level.emplace_back("exact_match_level_" + std::to_string(i + 1), right_here / count);
    if (!mixture_.has(static_cast<int>(i) + 1)) continue;
    right += right_here;
    whole += static_cast<double>(std::count_if(begin, end, [](const Answer& a) { return a.whole; }));
    all += count;
  }
  // Where no level was trained on that is evaluated, there is nothing to match.
  metrics.emplace_back("exact_match", all > 0 ? right / all : 0);
  metrics.insert(metrics.end(), by_level.begin(), by_level.end());
  metrics.emplace_back("exact_match_whole_text", all > 0 ? whole / all : 0);
  return metrics;
}

std::string ScratchpadTask::table(const std::vector<Answer>& answers) const {
  std::ostringstream text;
  for (size_t at = 0, i = 0; i < evaluated_.size(); at += evaluated_[i].size(), ++i) {
    // Right and wrong answers in turn, as far as there are any of each.
    std::vector<const Answer*> right, wrong, rows;
    for (size_t j = at; j < at + evaluated_[i].size(); ++j) (answers[j].right ? right : wrong).push_back(&answers[j]);
    const size_t shown_wrong =
        std::min(wrong.size(), std::max(rows_a_level / 2, rows_a_level - std::min(rows_a_level, right.size())));
    // Spread over the level, which lies in order of its operators.
    const auto take = [&](const std::vector<const Answer*>& from, size_t count) {
      for (size_t j = 0; j < count; ++j) rows.push_back(from[j * from.size() / count]);
    };
    take(right, std::min(right.size(), rows_a_level - shown_wrong));
    take(wrong, shown_wrong);
    size_t input_width = 5, generated_width = 9;
    for (const Answer* a : rows) {
      input_width = std::max(input_width, a->expression->input().size());
      generated_width = std::max(generated_width, shortened(a->generated).size());
    }
    const int level = static_cast<int>(i) + 1;
    text << (i ? "\n" : "") << "level " << level << (mixture_.has(level) ? "" : " (not trained on)") << ": "
         << percent(right.size(), evaluated_[i].size()) << " of " << evaluated_[i].size() << " right\n";
    const auto row = [&](const std::string& input, const std::string& generated, const std::string& verdict,
                         const std::string& expected) {
      text << "  " << std::left << std::setw(7) << verdict << std::setw(static_cast<int>(input_width) + 2) << input
           << std::setw(static_cast<int>(generated_width) + 2) << generated << expected << '\n';
    };
    row("input", "generated", "", "expected");
    for (const Answer* a : rows)
      row(a->expression->input(), shortened(a->generated), a->right ? "right" : "WRONG", target(*a->expression));
  }
  return text.str();
}

std::unique_ptr<Task> make_scratchpad_task(Config& config, const ScratchpadConfig& own, const Options& options,
                                           Ops& ops, bool training) {
  for (const char* name : {"data.train", "data.eval", "data.test", "data.tokenizer", "data.block_size"})
    if (training && is_changed(options, name))
      fail_usage(name, " was set, but task scratchpad makes its data and brings its tokenizer: leave it out");
  auto tokenizer = config.init.empty() ? make_arithmetic_tokenizer() : nullptr;
  return std::make_unique<ScratchpadTask>(
      config, own, make_language_model(config, options, std::move(tokenizer), ops.memory(), training));
}

}  // namespace engine
