#include "tasks/blotching/blotching.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"
#include "core/json.h"
#include "core/listing.h"
#include "training/run_folder.h"
#include "training/state.h"

namespace engine {

namespace {

// These keep the draws apart from every other use of the seed.
constexpr uint64_t problem_stream = uint64_t{0x626d} << 48, order_stream = uint64_t{0x626e} << 48,
                   training_stream = uint64_t{0x626f} << 48, evaluation_stream = uint64_t{0x6270} << 48;
constexpr int sequences_at_once = 256;
const char* const levels_file = "blotching.json";  // in a model's folder, the shares of its blotch tokens
const char* const state_file = "blotching.json";   // in the task's part of a state
const char* const rows_file = "rows.txt";

std::string text_of(const std::vector<double>& shares) {
  std::vector<std::string> texts;
  for (const double share : shares) texts.push_back(nlohmann::json(share).dump());
  return texts.empty() ? "none" : listed(texts, " and ");
}

// The shares that a model has tokens for; none where it has no such tokens.
std::vector<double> token_shares(const BlotchLevels& levels) {
  return levels.has_tokens() ? levels.shares() : std::vector<double>{};
}

// Returns the epoch of a line such as "epoch 12: ...", or -1 for any other.
int64_t epoch_of_title(std::string_view line) {
  const std::string_view title = "epoch ";
  int64_t epoch = -1;
  if (line.starts_with(title)) std::from_chars(line.data() + title.size(), line.data() + line.size(), epoch);
  return epoch;
}

// A blotch token means the share with which it was trained.
void check_levels(const std::filesystem::path& folder, const BlotchLevels& levels) {
  const std::filesystem::path file = folder / levels_file;
  if (!std::filesystem::exists(file)) return;
  const nlohmann::json json = parse_json_file(file);
  std::vector<double> shares;
  try {
    shares = json.at("blotch_p").get<std::vector<double>>();
  } catch (const nlohmann::json::exception& error) {
    fail(file.string(), " is damaged: ", error.what());
  }
  if (shares != token_shares(levels))
    fail_usage("the model in ", folder.string(), " has blotch tokens for the shares ", text_of(shares),
               ", but blotching.blotch_p_min, blotch_p_max, n_btokens and blotch_granularity ask for ",
               text_of(token_shares(levels)), ": set them as they were");
}

}  // namespace

BlotchingTask::BlotchingTask(const Config& config, const BlotchingConfig& own, LanguageModel language, bool training)
    : CausalTask(config, std::move(language)),
      own_(own),
      levels_(own_),
      blotcher_(own_),
      format_(tokenizer(), levels_, own_),
      source_(own_),
      cache_(static_cast<size_t>(own_.capacity())),
      changes_(own_, levels_, format_, source_, cache_, config.seed),
      schedule_(own_),
      evaluation_(own_, levels_, format_) {
  const std::vector<std::string>& validation = source_.validation();
  const auto all = static_cast<int64_t>(validation.size());
  const int64_t count = own_.eval_problems ? std::min(own_.eval_problems, all) : all;
  evaluation_.set_problems(std::span(validation).first(static_cast<size_t>(count)));
  check_fit(evaluation_.rows(), "validation");
  if (!training) return;
  if (config.training.batch_tokens)
    fail_usage("training.batch_tokens is set, but a step of task blotching has training.batch_size rows");
  fill_cache();
  const auto rows = static_cast<int64_t>(cache_.size());
  const auto all_problems = static_cast<int64_t>(source_.training().size());
  if (rows < rows_a_step())
    fail_usage("training.batch_size is ", rows_a_step(), ", but the cache has only ", rows,
               all_problems && all_problems <= rows
                   ? " rows: all the problems there are but those of validation. Lower it, raise blotching.max_num or "
                     "max_ents, or set blotching.exhaustive = \"never\""
                   : " rows: raise blotching.init_samples");
  epoch_steps_ = rows / rows_a_step();
  if (own_.n_train_loops) epoch_steps_ = std::min(epoch_steps_, own_.n_train_loops);
  fingerprint_ = fingerprint_of_data();
}

void BlotchingTask::fill_cache() {
  const auto wanted = static_cast<size_t>(own_.initial_rows());
  std::vector<std::string> rows;
  Solver solver;
  Random random(config_.seed, problem_stream);
  // The seed chooses which of all problems there are it takes.
  std::vector<std::string> left = source_.training();
  while (!left.empty() && rows.size() < wanted) {
    std::swap(left[random.below(static_cast<uint32_t>(left.size()))], left.back());
    solver.solve(left.back());
    rows.push_back(solver.row());
    left.pop_back();
  }
  std::string problem;
  while (source_.training().empty() && rows.size() < wanted) {
    if (!source_.draw(random, problem))
      fail_usage("blotching.init_samples is ", wanted, ", but after ", rows.size(), " of them ", source_.failure());
    rows.push_back(source_.solver().row());
  }
  check_fit(rows, "training");
  for (std::string& row : rows) cache_.add(std::move(row));
}

void BlotchingTask::check_fit(std::span<const std::string> rows, const char* of) const {
  const auto longer = [](const std::string& a, const std::string& b) { return a.size() < b.size(); };
  const auto longest = std::max_element(rows.begin(), rows.end(), longer);
  const auto tokens = static_cast<int64_t>(format_.tokens_of(longest->size()));
  const int64_t positions = model().config().max_positions;
  if (tokens > positions)
    fail_usage("model.max_positions is ", positions, ", but the longest row of ", of, ", ", longest->substr(0, 40),
               "..., has ", tokens, " tokens: raise it, or set blotching.seq_len to draw shorter ones only");
}

std::string BlotchingTask::fingerprint_of_data() const {
  uint64_t hash = empty_hash;
  for (size_t i = 0; i < cache_.size(); ++i) hash = hash_of(cache_[i] + "\n", hash);
  for (const std::string& row : evaluation_.rows()) hash = hash_of(row + "\n", hash);
  return fingerprint_of(tokenizer()) + ", rows " + hexadecimal(hash);
}

SharedGenerator BlotchingTask::generator(Machine& machine) {
  if (!generator_) generator_ = std::make_unique<Generator>(machine.ops, model(), machine.compute, sequences_at_once);
  return {*generator_, machine.communicator, machine.parts()};
}

void BlotchingTask::prepare(Machine& machine, int64_t step) {
  if (!own_.changes_rows()) return;
  for (const int64_t ended = step / epoch_steps_; epochs_ended_ < ended; ++epochs_ended_)
    end_epoch(machine, epochs_ended_);
}

void BlotchingTask::end_epoch(Machine& machine, int64_t epoch) {
  if (epoch_losses_ == 0) return;  // its steps were passed over
  const double loss = epoch_loss_ / static_cast<double>(epoch_losses_);
  epoch_loss_ = 0;
  epoch_losses_ = 0;
  if (!schedule_.is_due(epoch, loss)) return;
  const auto longest = static_cast<size_t>(model().config().max_positions);
  write_examples(machine, epoch, changes_.run(machine, model(), generator(machine), epoch, longest, counts_));
  ordered_epoch_ = -1;
}

void BlotchingTask::write_examples(Machine& machine, int64_t epoch, const ChangeExamples& examples) const {
  if (!machine.communicator.is_first()) return;
  const RunFolder folder = RunFolder::of(config_);
  if (!std::filesystem::exists(folder.path())) return;
  for (const auto& [change, text] : {std::pair{"star", examples.star}, {"aug", examples.aug}, {"axe", examples.axe}}) {
    if (text.empty()) continue;
    const std::filesystem::path file = folder.examples(change);
    std::string before = std::filesystem::exists(file) ? read_text(file) : std::string();
    // A resumed training comes to the same epochs again.
    for (size_t at = 0; at < before.size(); at = std::min(before.find('\n', at), before.size() - 1) + 1)
      if (epoch_of_title(std::string_view(before).substr(at)) >= epoch) before.resize(at);
    write_file(file, before + text);
  }
}

void BlotchingTask::batch_of(int64_t step, SequenceBatch& batch) {
  const int64_t epoch = step / epoch_steps_, rows = rows_a_step();
  if (ordered_epoch_ != epoch) {
    order_ = cache_.order(config_.seed, order_stream | static_cast<uint64_t>(epoch));
    ordered_epoch_ = epoch;
  }
  batch.clear();
  const auto longest = static_cast<size_t>(rows * model().config().max_positions);
  batch.tokens.reserve(longest);
  batch.targets.labels.reserve(longest);
  batch.offsets.reserve(static_cast<size_t>(rows) + 1);
  if (!format_.counts_present()) batch.positions.reserve(longest);
  Random random(config_.seed, training_stream | static_cast<uint64_t>(step));
  const auto first = static_cast<size_t>(step % epoch_steps_ * rows);
  std::vector<bool> left_out;
  for (size_t i = first; i < first + static_cast<size_t>(rows); ++i) {
    const std::string& row = cache_[order_[i]];
    const int level = static_cast<int>(random.below(static_cast<uint32_t>(levels_.count())));
    blotcher_.choose(random, levels_.share(level), steps_of(equal_signs(row)), left_out);
    format_.append(row, level, left_out, batch);
  }
}

void BlotchingTask::step_done(int64_t, double loss) {
  epoch_loss_ += loss;
  ++epoch_losses_;
}

Metrics BlotchingTask::log(Machine&) {
  if (!own_.changes_rows()) return {};
  Metrics metrics{{"rows", static_cast<double>(cache_.size())}, {"row_length", cache_.mean_length()}};
  ChangeCounts::visit(counts_, [&](const char* name, int64_t number) {
    const std::string change(name);
    const bool is_made = change.starts_with("star") ? own_.star_loops != 0
                         : change.starts_with("aug") ? own_.aug_loops != 0
                                                     : own_.axe_loops != 0;
    if (is_made) metrics.emplace_back(change, static_cast<double>(number));
  });
  counts_ = {};
  return metrics;
}

void BlotchingTask::save_state(Machine& machine, const std::filesystem::path& folder) const {
  if (!machine.communicator.is_first()) return;
  nlohmann::json state{{"epochs_ended", epochs_ended_},
                       {"epoch_loss", epoch_loss_},
                       {"epoch_losses", epoch_losses_},
                       {"window", schedule_.window()}};
  ChangeCounts::visit(counts_, [&](const char* name, int64_t number) { state[name] = number; });
  write_file(folder / state_file, state.dump() + "\n");
  // Rows that never change are made of the seed.
  if (own_.changes_rows()) write_file(folder / rows_file, cache_.text());
}

void BlotchingTask::load_state(Machine&, const std::filesystem::path& folder) {
  const std::string where = (folder / state_file).string();
  const nlohmann::json json = parse_json(read_task_state(folder, state_file), where);
  try {
    epochs_ended_ = json.at("epochs_ended");
    epoch_loss_ = json.at("epoch_loss");
    epoch_losses_ = json.at("epoch_losses");
    schedule_.set_window(json.at("window"));
    ChangeCounts::visit(counts_, [&](const char* name, int64_t& number) { number = json.at(name); });
  } catch (const nlohmann::json::exception& error) {
    fail(where, " is damaged: ", error.what());
  }
  ordered_epoch_ = -1;
  if (own_.changes_rows())
    cache_.set_text(read_task_state(folder, rows_file), (folder / rows_file).string());
  const int64_t needed = epoch_steps_ * rows_a_step();
  if (const auto rows = static_cast<int64_t>(cache_.size()); rows < needed)
    fail((folder / rows_file).string(), " is damaged: it has ", rows, " rows, but an epoch takes ", needed);
}

std::vector<std::string> BlotchingTask::metric_names() const {
  std::vector<std::string> names{"correct", "loss", "token_accuracy"};
  for (const int level : evaluation_.levels())
    for (const char* const measure : {"_loss", "_token_accuracy"})
      if (evaluation_.levels().size() > 1) names.push_back(evaluation_.name_of_level(level).substr(1) + measure);
  for (const std::string& name : evaluation_.names())
    if (name != "correct") names.push_back(name);
  return names;
}

Metrics BlotchingTask::evaluate(Machine& machine, std::string& samples) {
  Metrics of_levels;
  LossTotals all;
  std::vector<bool> left_out;
  for (const int level : evaluation_.levels()) {
    // The same steps are missing whatever the run's seed.
    Random random(evaluation_seed, evaluation_stream | static_cast<uint64_t>(level));
    SequenceBatch batch;
    for (const std::string& row : evaluation_.rows()) {
      blotcher_.choose(random, levels_.share(level), steps_of(equal_signs(row)), left_out);
      format_.append(row, level, left_out, batch);
    }
    const LossTotals totals = step_.evaluate(machine, batch, suspects_, [&](size_t i) {
      const std::string& row = evaluation_.rows()[i];
      return nlohmann::ordered_json{
          {"level", levels_.share(level)}, {"input", row.substr(0, row.find('='))}, {"label", answer_of(row)}};
    });
    all += totals;
    if (evaluation_.levels().size() < 2) continue;
    // A name that ends with "loss" is one of which less is better.
    const std::string name = evaluation_.name_of_level(level).substr(1);
    of_levels.emplace_back(name + "_loss", totals.loss / totals.scored);
    of_levels.emplace_back(name + "_token_accuracy", totals.correct / totals.scored);
  }
  samples.clear();
  predictions_.clear();
  const Metrics written = evaluation_.write(generator(machine), samples, predictions_);
  double right = 0, count = 0;
  for (const auto& [name, value] : written)
    if (name.starts_with("correct")) right += value, ++count;
  Metrics metrics{{"correct", right / count},
                  {"loss", all.loss / all.scored},
                  {"token_accuracy", all.correct / all.scored}};
  metrics.insert(metrics.end(), of_levels.begin(), of_levels.end());
  for (const auto& metric : written)
    if (metric.first != "correct") metrics.push_back(metric);
  if (samples.empty()) samples = "blotching.samples is 0: no solution is shown\n";
  return metrics;
}

void BlotchingTask::save_model(const std::filesystem::path& folder) {
  CausalTask::save_model(folder);
  write_file(folder / levels_file, nlohmann::json{{"blotch_p", token_shares(levels_)}}.dump() + "\n");
}

std::unique_ptr<Task> make_blotching_task(Config& config, const BlotchingConfig& own, const Options& options,
                                          Ops& ops, Use use) {
  const bool training = use == Use::training;
  own.check();
  const BlotchLevels levels(own);
  if (!config.init.empty()) check_levels(open_run(config.init).model, levels);
  auto tokenizer = config.init.empty() ? make_problem_tokenizer(levels.tokens()) : nullptr;
  LanguageModel language = make_language_model(config, options, std::move(tokenizer), ops, use);
  if (reads_source(*language.model))
    fail_usage("model.architecture is ", config.model.architecture, ", which reads a source: task blotching trains ",
               "decoders alone, ", architecture_names({ModelKind::decoder}));
  if (!own.pad_pos_skip && !architecture_of(language.model->config()).has_attention)
    fail_usage("blotching.pad_pos_skip is false, but a model without attention reads no positions: leave it out");
  return std::make_unique<BlotchingTask>(config, own, std::move(language), training);
}

}  // namespace engine
