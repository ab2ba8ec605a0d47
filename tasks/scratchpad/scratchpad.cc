#include "tasks/scratchpad/scratchpad.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"
#include "core/json.h"
#include "models/bart.h"
#include "training/state.h"

namespace engine {

namespace {

using Split = ExpressionSource::Split;
using Clock = std::chrono::steady_clock;

// Keeps the draws of training examples apart from every other use of the seed.
constexpr uint64_t training_stream = uint64_t{0x7363} << 48;
constexpr int sequences_at_once = 256;
const char* const kind_file = "scratchpad.json";   // in a model's folder, names the kind of its texts
const char* const state_file = "scratchpad.json";  // in the task's part of a state

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

Form form_of(const std::string& name) {
  return name == "equations" ? Form::equations : name == "results" ? Form::results : Form::parentheses;
}

// A model that was trained to write something else would have to unlearn it.
void check_kind(const std::filesystem::path& folder, const ScratchpadConfig& own) {
  const std::filesystem::path file = folder / kind_file;
  if (!std::filesystem::exists(file)) return;
  const nlohmann::json json = parse_json_file(file);
  for (const auto& [name, wanted] : {std::pair{"explanation", own.explanation}, std::pair{"form", own.form}}) {
    const std::string there = json_string(json, name, file.string());
    if (there != wanted)
      fail_usage("scratchpad.", name, " is ", wanted, ", but the model in ", folder.string(), " was trained with ",
                 there, ": set it so, or remove ", file.string(), " to train that model on nevertheless");
  }
}

}  // namespace

ScratchpadTask::ScratchpadTask(const Config& config, const ScratchpadConfig& own, LanguageModel language)
    : CausalTask(config, std::move(language)),
      own_(own),
      form_(form_of(own.form)),
      format_(tokenizer(), model().config(), reads_source(model())),
      writer_(format_, writing()),
      curriculum_(own, config.seed),
      source_(limits()),
      modes_(modes_of(own.evaluation, own.explanation)) {
  if (!own.data.empty()) {
    file_ = std::make_unique<ExpressionFile>(own.data, own, curriculum_.levels());
    check_fit();
  }
  for (int level = 1; level <= own.max_depth; ++level) {
    const auto quantity = static_cast<size_t>(own.eval_quantity);
    levels_.push_back(evaluated_.size());
    const auto some = file_ ? file_->sample(evaluation_seed, level, quantity)
                            : source_.sample(evaluation_seed, level, Split::evaluation, quantity, evaluated_pool_);
    evaluated_.insert(evaluated_.end(), some.begin(), some.end());
  }
  levels_.push_back(evaluated_.size());
  // Finds levels that cannot be drawn now, not in the middle of a run.
  Random random(evaluation_seed, training_stream);
  for (const int level : curriculum_.levels()) draw_one(random, level);
  fingerprint_ = fingerprint_of_data();
  // Reserves the longest possible batch, so that no later step allocates. A node is three characters at least.
  const auto longest = static_cast<size_t>(own_.max_total_length);
  drawn_pool_.reserve(static_cast<size_t>(most_sequences()) * (longest / 3 + 1));
  drawn_.reserve(static_cast<size_t>(most_sequences()));
  input_.reserve(longest);
  answer_.reserve(longest);
}

int64_t ScratchpadTask::most_sequences() const {
  constexpr int64_t shortest = 3;  // a digit, <start> and its value
  const TrainingConfig& training = config_.training;
  return training.batch_tokens ? training.batch_tokens / shortest + 1 : training.batch_size;
}

SelfWritingSettings ScratchpadTask::writing() const {
  return {.form = form_,
          .max_answer_length = own_.max_answer_length,
          .max_total_length = own_.max_total_length,
          .clean = own_.clean_results,
          .topological = own_.batching == "topological"};
}

ExpressionLimits ScratchpadTask::limits() const {
  return {.max_answer_length = own_.max_answer_length,
          .max_total_length = std::min(own_.max_total_length, format_.longest_alone()),
          .max_sequence_length = format_.longest_together(),
          .held_out = own_.held_out};
}

void ScratchpadTask::check_fit() const {
  const auto input = static_cast<size_t>(file_->longest_input());
  const auto written = static_cast<size_t>(file_->longest_scratchpad());
  if (!format_.fits(input, written))
    fail_usage(own_.data, " has inputs of up to ", input, " and scratchpads of up to ", written,
               " tokens: the model's positions do not reach so far, raise model.max_positions");
}

std::string ScratchpadTask::fingerprint_of_data() {
  uint64_t hash = empty_hash;
  draw(0);
  for (const Expression* e : drawn_) hash = hash_of(e->input() + "\n", hash);
  drawn_step_ = -1;
  return "tokenizer " + hexadecimal(tokenizer().digest()) +
         (file_ ? ", file of expressions " + file_->digest() : ", expressions " + hexadecimal(hash));
}

const Expression* ScratchpadTask::draw_one(Random& random, int level) {
  return file_ ? file_->draw(random, level) : source_.draw(random, level, Split::training, drawn_pool_);
}

size_t ScratchpadTask::answer_length(const Expression& expression) const {
  size_t length = 0;
  const auto count = [&](std::string_view part) { length += part.size(); };
  if (own_.explanation == "none") write_value(expression.value, count);
  else write_oracle(expression, form_, count);
  return length;
}

void ScratchpadTask::draw(int64_t step) {
  if (drawn_step_ == step) return;
  drawn_step_ = step;
  Random random(config_.seed, training_stream | static_cast<uint64_t>(step));
  curriculum_.begin_step(step);
  drawn_.clear();
  drawn_pool_.release(0);
  const int64_t batch_tokens = config_.training.batch_tokens;
  int64_t tokens = 0;
  // Tokens of self-written results are counted as if the results were right.
  do {
    const Expression* const e = draw_one(random, curriculum_.draw(random));
    drawn_.push_back(e);
    tokens += static_cast<int64_t>(static_cast<size_t>(e->input_length) + 1 + answer_length(*e));
  } while (batch_tokens ? tokens < batch_tokens : static_cast<int64_t>(drawn_.size()) < config_.training.batch_size);
}

SharedGenerator ScratchpadTask::generator(Machine& machine) {
  if (!generator_) generator_ = std::make_unique<Generator>(machine.ops, model(), machine.compute, sequences_at_once);
  return {*generator_, machine.communicator, machine.parts()};
}

void ScratchpadTask::prepare(Machine& machine, int64_t step) {
  step_began_ = Clock::now();
  if (!is_self_learned()) return;
  drawn_step_ = -1;
  draw(step);
  written_ = writer_.write(generator(machine), drawn_, {.at_once = sequences_at_once}, window_.inner);
  generating_seconds_ += seconds_since(step_began_);
}

bool ScratchpadTask::append(const Expression& expression, const SelfWritten* written, SequenceBatch& batch) {
  // Both keep their memory, since a step allocates nothing.
  input_.clear();
  answer_.clear();
  write_input(expression, [&](std::string_view part) { input_ += part; });
  const auto put = [&](std::string_view part) { answer_ += part; };
  size_t scored_from = 0;
  if (written) {
    answer_ = written->before_value;
    scored_from = answer_.size();
    write_value(expression.value, put);
    if (expression.op) put(")");
  } else if (own_.explanation == "none") {
    write_value(expression.value, put);
  } else {
    write_oracle(expression, form_, put);
  }
  const bool too_long = written && (written->too_long || !format_.fits(input_.size(), answer_.size()) ||
                                    answer_.size() > static_cast<size_t>(own_.max_total_length));
  if (!too_long) format_.append(input_, answer_, scored_from, batch);
  return !too_long;
}

void ScratchpadTask::batch_of(int64_t step, SequenceBatch& batch) {
  require(!is_self_learned() || drawn_step_ == step, "the scratchpads of step ", step,
          " are not written: prepare comes before batch_of");
  draw(step);
  batch.clear();
  const int64_t longest = model().config().max_positions, batch_tokens = config_.training.batch_tokens;
  const int64_t sequences = most_sequences();
  const auto tokens = static_cast<size_t>(batch_tokens ? batch_tokens + longest : sequences * longest);
  batch.tokens.reserve(tokens);
  batch.targets.labels.reserve(tokens);
  batch.offsets.reserve(static_cast<size_t>(sequences) + 1);
  if (format_.reads_source()) {
    batch.sources.reserve(tokens);
    batch.source_offsets.reserve(static_cast<size_t>(sequences) + 1);
  }
  for (size_t i = 0; i < drawn_.size(); ++i) {
    const bool appended = append(*drawn_[i], is_self_learned() ? &written_[i] : nullptr, batch);
    window_.skipped += !appended;
    ++window_.levels[drawn_[i]->level];
  }
}

void ScratchpadTask::step_done(int64_t, double loss) {
  curriculum_.step_done(loss);
  step_seconds_ += seconds_since(step_began_);
}

Metrics ScratchpadTask::log(Machine&) {
  Metrics metrics = curriculum_.log();
  if (!curriculum_.is_constant()) {
    int64_t all = 0;
    for (const auto& [level, count] : window_.levels) all += count;
    for (const auto& [level, count] : window_.levels)
      metrics.emplace_back("share_level_" + std::to_string(level),
                           static_cast<double>(count) / static_cast<double>(all));
  }
  if (is_self_learned()) {
    for (const auto& [level, counts] : window_.inner.by_level)
      metrics.emplace_back("inner_accuracy_level_" + std::to_string(level),
                           static_cast<double>(counts.first) / static_cast<double>(counts.second));
    metrics.emplace_back("asked", static_cast<double>(window_.inner.asked));
    metrics.emplace_back("skipped", static_cast<double>(window_.skipped));
    metrics.emplace_back("generating_share", step_seconds_ > 0 ? generating_seconds_ / step_seconds_ : 0);
  }
  window_ = {};
  generating_seconds_ = step_seconds_ = 0;
  return metrics;
}

void ScratchpadTask::save_state(Machine& machine, const std::filesystem::path& folder) const {
  if (!machine.communicator.is_first()) return;
  nlohmann::json levels = nlohmann::json::array(), inner = nlohmann::json::array();
  for (const auto& [level, count] : window_.levels) levels.push_back({level, count});
  for (const auto& [level, counts] : window_.inner.by_level) inner.push_back({level, counts.first, counts.second});
  const nlohmann::json state{{"curriculum", curriculum_.state()},
                             {"levels", levels},
                             {"inner", inner},
                             {"asked", window_.inner.asked},
                             {"skipped", window_.skipped}};
  write_file(folder / state_file, state.dump() + "\n");
}

void ScratchpadTask::load_state(Machine&, const std::filesystem::path& folder) {
  const std::string where = (folder / state_file).string();
  const nlohmann::json json = parse_json(read_task_state(folder, state_file), where);
  curriculum_.set_state(json_string(json, "curriculum", where));
  window_ = {};
  try {
    for (const nlohmann::json& entry : json.at("levels")) window_.levels[entry.at(0)] = entry.at(1);
    for (const nlohmann::json& entry : json.at("inner"))
      window_.inner.by_level[entry.at(0)] = {entry.at(1), entry.at(2)};
    window_.inner.asked = json.at("asked");
    window_.skipped = json.at("skipped");
  } catch (const nlohmann::json::exception& error) {
    fail(where, " is damaged: ", error.what());
  }
}

std::vector<std::string> ScratchpadTask::metric_names() const {
  std::vector<std::string> names{"exact_match", "exact_match_whole_text"};
  for (int level = 1; level <= own_.max_depth; ++level) names.push_back("exact_match_level_" + std::to_string(level));
  for (const Mode mode : modes_)
    for (const std::string& name : match_names(mode, own_.max_depth)) names.push_back(name);
  // The loss counts the levels that are trained on.
  for (int level = 1; level <= own_.max_depth; ++level)
    if (is_trained(level)) return names.push_back("loss"), names;
  return names;
}

std::vector<const Expression*> ScratchpadTask::append_evaluation(const SharedGenerator& ready,
                                                                 const std::vector<const Expression*>& expressions,
                                                                 SequenceBatch& batch) {
  std::vector<const Expression*> appended;
  std::vector<SelfWritten> written;
  InnerResults inner;
  if (is_self_learned()) written = writer_.write(ready, expressions, {.at_once = sequences_at_once}, inner);
  for (size_t i = 0; i < expressions.size(); ++i)
    if (append(*expressions[i], written.empty() ? nullptr : &written[i], batch)) appended.push_back(expressions[i]);
  return appended;
}

Metrics ScratchpadTask::evaluate(Machine& machine, std::string& samples) {
  Metrics metrics;
  const SharedGenerator ready = generator(machine);
  SequenceBatch batch;
  std::vector<const Expression*> trained;
  for (const Expression* e : evaluated_)
    if (is_trained(e->level)) trained.push_back(e);
  const std::vector<const Expression*> appended = append_evaluation(ready, trained, batch);
  if (batch.sequences() > 0) {
    const LossTotals totals = step_.evaluate(machine, batch, suspects_, [&](size_t i) {
      const Expression& e = *appended[i];
      return nlohmann::ordered_json{{"level", e.level}, {"input", e.input()}, {"label", std::to_string(e.value)}};
    });
    metrics.emplace_back("loss", totals.loss / totals.scored);
  }
  const Answerer answerer{.generator = ready,
                          .format = format_,
                          .writer = writer_,
                          .with_steps = own_.explanation != "none",
                          .form = form_,
                          .max_answer_length = own_.max_answer_length,
                          .max_total_length = own_.max_total_length,
                          .generation = {.end_tokens = {format_.end_token()},
                                         .beams = config_.generation.num_beams,
                                         .length_penalty = config_.generation.length_penalty,
                                         .early_stopping = config_.generation.early_stopping}};
  const auto batch_size = static_cast<size_t>(4 * std::max<int64_t>(config_.training.batch_size, 1));
  Metrics matches;
  samples.clear();
  predictions_.clear();
  for (const Mode mode : modes_) {
    InnerResults inner;
    const std::vector<Answer> answers = answerer.answer(mode, evaluated_, inner);
    if (mode == modes_.front()) {
      // There is nothing to match where no evaluated level was trained on.
      double right = 0, whole = 0, all = 0;
      std::map<int, double> of_level;
      for (const Answer& a : answers) {
        of_level[a.expression->level] += a.right;
        if (!is_trained(a.expression->level)) continue;
        right += a.right;
        whole += a.whole;
        ++all;
      }
      metrics.emplace_back("exact_match", all > 0 ? right / all : 0);
      for (size_t i = 0; i + 1 < levels_.size(); ++i)
        metrics.emplace_back("exact_match_level_" + std::to_string(i + 1),
                             of_level[static_cast<int>(i) + 1] / static_cast<double>(levels_[i + 1] - levels_[i]));
      metrics.emplace_back("exact_match_whole_text", all > 0 ? whole / all : 0);
    }
    const Metrics own = match_metrics(mode, answers, levels_, batch_size);
    matches.insert(matches.end(), own.begin(), own.end());
    for (const auto& [level, counts] : inner.by_level)
      matches.emplace_back("inner_accuracy_level_" + std::to_string(level),
                           static_cast<double>(counts.first) / static_cast<double>(counts.second));
    if (modes_.size() > 1) samples += (samples.empty() ? "--- " : "\n--- ") + name_of(mode) + " ---\n";
    samples += table(answers, levels_, [&](int level) { return is_trained(level); });
    predictions_ += prediction_lines(mode, answers);
  }
  metrics.insert(metrics.end(), matches.begin(), matches.end());
  return metrics;
}

void ScratchpadTask::save_model(const std::filesystem::path& folder) {
  CausalTask::save_model(folder);
  const nlohmann::ordered_json kind{{"explanation", own_.explanation}, {"form", own_.form}};
  write_file(folder / kind_file, kind.dump() + "\n");
}

std::unique_ptr<Task> make_scratchpad_task(Config& config, const ScratchpadConfig& own, const Options& options,
                                           Ops& ops, Use use) {
  if (!config.init.empty()) check_kind(open_run(config.init).model, own);
  auto tokenizer = config.init.empty() ? make_arithmetic_tokenizer() : nullptr;
  if (tokenizer) config.model.own.get<BartOptions>().decoder_start_token = tokenizer->id_of("<start>").value();
  return std::make_unique<ScratchpadTask>(
      config, own, make_language_model(config, options, std::move(tokenizer), ops, use));
}

}  // namespace engine
