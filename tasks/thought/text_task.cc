#include "tasks/thought/text_task.h"

#include <algorithm>
#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/error.h"
#include "core/hash.h"
#include "tasks/cache_folder.h"
#include "tasks/gpt/permutation.h"
#include "tasks/thought/answering.h"
#include "tasks/thought/samples.h"
#include "training/subset.h"

namespace engine {

namespace {

// Evaluation goes through its data in pieces of this many tokens, so that it may be long.
constexpr size_t tokens_at_a_time = size_t{1} << 18;
// Keeps the draws of places apart from every other use of the seed.
constexpr uint64_t place_stream = uint64_t{0x7468} << 48;

Random random_of(uint64_t seed, int64_t epoch, int64_t sequence) {
  return {seed + static_cast<uint64_t>(epoch) * 0x9E3779B97F4A7C15u, place_stream | static_cast<uint64_t>(sequence)};
}

struct Right {
  double right = 0, all = 0;
  double share() const { return right / all; }
};

}  // namespace

ThoughtTextTask::ThoughtTextTask(const Config& config, const ThoughtConfig& own, LanguageModel language, bool training)
    : ThoughtTask(config, own, std::move(language)),
      plan_{.count = own.count, .thought = thought_, .inserts = own.places != "none"},
      search_(own_, thought_, tokenizer()) {
  check(training || !config.data.eval.empty());
  fingerprint_ = fingerprint_of(tokenizer());
  open_data(training);
  if (training && own.samples > 0) require_prompt(tokenizer(), own.sample_prompt, "thought");
  // A training learns of wrong questions before it begins.
  question_names(own.questions);
  if (training) questions_ = read_choice_files(own.questions, tokenizer(), model().config(), question_rule(true));
}

void ThoughtTextTask::check(bool reads_documents) const {
  if (config_.data.block_size > 0)
    fail_usage("data.block_size: nothing reads it in task thought, whose sequences have thought.context tokens");
  if (!reads_documents) return;
  if (own_.context > model().config().max_positions)
    fail_usage("thought.context is ", own_.context, ", but the model has only ", model().config().max_positions,
               " positions");
  if (2 * own_.count > own_.context)
    fail_usage("thought.count is ", own_.count, ", but a sequence of thought.context = ", own_.context,
               " tokens has room for ", own_.context / 2, " thoughts and as many tokens");
  if (own_.expectation && (own_.reinforce > 0 || own_.punish > 0))
    fail_usage("thought.expectation weighs asking for thoughts itself: set thought.",
               own_.reinforce > 0 ? "reinforce" : "punish", " = 0");
  if (own_.searches() && own_.search_passes > own_.count)
    fail_usage("thought.search_passes is ", own_.search_passes, ", but a sequence has room for thought.count = ",
               own_.count, " thoughts");
}

void ThoughtTextTask::open_data(bool training) {
  const DataConfig& data = config_.data;
  const CacheFolder cache(config_, training);
  const DocumentRule rule{.context = own_.context, .min_piece = own_.min_piece, .joined = own_.documents == "joined"};
  const auto open = [&](const std::vector<std::string>& files, std::optional<PackedDocuments>& documents) {
    const std::string split = split_of(files, data);
    documents.emplace(cache.path() / (split + ".documents"), files, tokenizer(), rule);
    const TokenFile& tokens = documents->tokens();
    fingerprint_ +=
        ", " + split + " data of " + std::to_string(tokens.size()) + " tokens " + hexadecimal(tokens.hash());
  };
  if (training) open(data.train, train_);
  if (!data.eval.empty()) open(data.eval, eval_);
}

std::string ThoughtTextTask::start_report() const {
  std::string report = CausalTask::start_report();
  const auto add = [&](const char* split, const std::optional<PackedDocuments>& documents) {
    if (!documents) return;
    if (!report.empty()) report += '\n';
    report.append(split).append(": ").append(documents->report());
    const int64_t least = 2 * own_.count + 1, without = documents->shorter_than(least);
    if (own_.count > 0)
      report.append(", ").append(std::to_string(without)).append(" of ").append(std::to_string(documents->sequences()))
          .append(" sequences have fewer than ").append(std::to_string(least))
          .append(" tokens and are left without thoughts");
  };
  add("data.train", train_);
  add("data.eval", eval_);
  for (const ChoiceFile& file : questions_)
    if (file.skipped > 0)
      report.append(report.empty() ? "" : "\n").append(file.file).append(": ").append(std::to_string(file.skipped))
          .append(" questions are longer than the model and are skipped");
  return report;
}

int64_t ThoughtTextTask::rows() const { return kept_of_share(config_.data.train_share, train_->rows()); }

int64_t ThoughtTextTask::steps_per_epoch() const {
  const int64_t batch = sequences_a_step(own_.context);
  return (rows() + batch - 1) / batch;
}

void ThoughtTextTask::each_sequence(int64_t step,
                                    const std::function<void(int64_t, std::vector<int32_t>&)>& each) {
  const int64_t count = sequences_a_step(own_.context), steps = steps_per_epoch();
  const int64_t epoch = step / steps, begin = step % steps * count;
  for (int64_t i = begin; i < std::min(begin + count, rows()); ++i) {
    const int64_t one = config_.data.shuffle ? permuted(i, rows(), config_.seed, static_cast<uint64_t>(epoch)) : i;
    train_->each_sequence(spread_index(one, rows(), train_->rows()), each);
  }
}

CachedScorer& ThoughtTextTask::searcher(Machine& machine) {
  if (!searcher_) searcher_ = make_scorer(machine);
  return *searcher_;
}

void ThoughtTextTask::each_with_thoughts(int64_t step, const std::function<void(const std::vector<int32_t>&)>& each) {
  const int64_t epoch = step / steps_per_epoch();
  each_sequence(step, [&](int64_t index, std::vector<int32_t>& sequence) {
    Random random = random_of(config_.seed, epoch, index);
    insert_thoughts(plan_, random, sequence);
    each(sequence);
  });
}

void ThoughtTextTask::search(Machine& machine, int64_t step) {
  const double begin = machine.seconds();
  searched_.clear();
  std::vector<std::vector<int32_t>> candidates;
  each_sequence(step, [&](int64_t, std::vector<int32_t>& tokens) {
    drop_for_thoughts(plan_, tokens);
    if (std::ssize(tokens) > own_.search_passes) candidates.push_back(std::move(tokens));
    else searched_.push_back({tokens, std::vector<int32_t>(tokens.size())});
  });
  SearchResult result = search_.run(machine, searcher(machine), candidates,
                                    config_.seed + static_cast<uint64_t>(step) * 0x9E3779B97F4A7C15u);
  std::move(result.sequences.begin(), result.sequences.end(), std::back_inserter(searched_));
  search_.count(result, machine.seconds() - begin);
}

void ThoughtTextTask::prepare(Machine& machine, int64_t step) {
  if (own_.searches()) search(machine, step);
  if (!own_.expectation) return;
  std::vector<std::vector<int32_t>> sequences;
  if (own_.searches())
    for (SearchedSequence& sequence : searched_) sequences.push_back(std::move(sequence.tokens));
  else
    each_with_thoughts(step, [&](const std::vector<int32_t>& sequence) { sequences.push_back(sequence); });
  expected_.clear();
  append_expected(machine, searcher(machine), thought_, sequences, expected_);
}

void ThoughtTextTask::batch_of(int64_t step, SequenceBatch& batch) {
  batch.clear();
  if (own_.expectation) {
    batch = expected_;
    return;
  }
  if (own_.searches()) {
    for (const SearchedSequence& sequence : searched_) search_.append(sequence, batch);
    return;
  }
  const auto tokens = static_cast<size_t>(sequences_a_step(own_.context) * own_.context);
  for (std::vector<int32_t>* list : {&batch.tokens, &batch.targets.labels}) list->reserve(tokens);
  each_with_thoughts(step, [&](const std::vector<int32_t>& tokens_of) { append_sequence(tokens_of, thought_, batch); });
}

std::pair<std::string, bool> ThoughtTextTask::best_metric() const {
  if (config_.data.eval.empty() && has_questions()) return {"accuracy", true};
  return {"loss", false};
}

std::vector<std::string> ThoughtTextTask::metric_names() const {
  std::vector<std::string> names;
  if (!config_.data.eval.empty() || !has_questions()) names = {"loss", "perplexity"};
  if (!config_.data.eval.empty() && inserts())
    names.insert(names.end(), {"loss_without_thoughts", "perplexity_without_thoughts", "thoughts"});
  if (!config_.data.eval.empty() && own_.learns_to_ask()) names.insert(names.end(), {"loss_asking", "asked_share"});
  if (!config_.data.eval.empty() && own_.expectation) names.push_back("loss_expected");
  if (!config_.data.eval.empty() && own_.searches()) names.push_back("search_gain");
  if (!has_questions()) return names;
  for (const std::string& name : question_names(own_.questions)) names.push_back("accuracy_" + name);
  names.insert(names.end(), {"accuracy", "skipped_questions"});
  return names;
}

void ThoughtTextTask::evaluate_documents(Machine& machine, Metrics& metrics) {
  const int64_t all = eval_->rows(), count = kept_at_most(config_.data.eval_sequences, all);
  LossTotals totals[2];
  SequenceBatch batches[2];
  double thoughts = 0;
  std::vector<int32_t> copy;
  std::vector<int64_t> indices;  // of the batch's sequences
  for (int64_t row = 0; row < count;) {
    for (SequenceBatch& batch : batches) batch.clear();
    indices.clear();
    for (; row < count && batches[0].tokens.size() < tokens_at_a_time; ++row)
      eval_->each_sequence(spread_index(row, count, all), [&](int64_t index, std::vector<int32_t>& tokens) {
        copy = tokens;
        Random random = random_of(evaluation_seed, 0, index);
        const bool fits = insert_thoughts(plan_, random, tokens);
        append_sequence(tokens, thought_, batches[0]);
        indices.push_back(index);
        if (!inserts()) return;
        thoughts += fits ? static_cast<double>(plan_.count) : 0;
        drop_for_thoughts(plan_, copy);
        append_sequence(copy, thought_, batches[1]);
      });
    const auto example = [&](size_t s) {
      const int32_t begin = batches[0].offsets[s], end = batches[0].offsets[s + 1];
      const std::span<const int32_t> tokens(batches[0].tokens.begin() + begin, batches[0].tokens.begin() + end);
      return nlohmann::ordered_json{{"sequence", indices[s]},
                                    {"tokens", tokens.size()},
                                    {"input", text_with_thoughts(tokenizer(), tokens, thought_, own_.show)}};
    };
    if (batches[0].sequences() > 0) totals[0] += step_.evaluate(machine, batches[0], suspects_, example);
    if (batches[1].sequences() > 0) totals[1] += step_.evaluate(machine, batches[1]);
  }
  const auto add = [&](const LossTotals& sums, const char* behind) {
    const double loss = sums.loss / sums.scored;
    metrics.emplace_back(std::string("loss").append(behind), loss);
    metrics.emplace_back(std::string("perplexity").append(behind), std::exp(loss));
  };
  add(totals[0], "");
  if (!inserts()) return;
  add(totals[1], "_without_thoughts");
  metrics.emplace_back("thoughts", thoughts);
}

void ThoughtTextTask::evaluate_asking(Machine& machine, Metrics& metrics) {
  const int64_t all = eval_->rows(), count = kept_at_most(config_.data.eval_sequences, all);
  LossTotals asking;
  ExpectedLoss expected;
  double thoughts = 0;
  for (int64_t row = 0; row < count;) {
    std::vector<std::vector<int32_t>> plain, with;
    for (; row < count && std::ssize(plain) < own_.search_group * machine.parts(); ++row)
      eval_->each_sequence(spread_index(row, count, all), [&](int64_t index, std::vector<int32_t>& tokens) {
        Random random = random_of(evaluation_seed, 0, index);
        with.push_back(tokens);
        insert_thoughts(plan_, random, with.back());
        drop_for_thoughts(plan_, tokens);
        plain.push_back(tokens);
      });
    SequenceBatch batch;
    for (const std::vector<int32_t>& tokens : search_.own_places(machine, searcher(machine), plain)) {
      append_sequence(tokens, thought_, batch);
      thoughts += static_cast<double>(std::count(tokens.begin(), tokens.end() - 1, thought_));
    }
    asking += step_.evaluate(machine, batch);
    if (!own_.expectation) continue;
    batch.clear();
    const ExpectedLoss part = append_expected(machine, searcher(machine), thought_, with, batch);
    expected.loss += part.loss;
    expected.targets += part.targets;
  }
  metrics.emplace_back("loss_asking", asking.loss / asking.scored);
  metrics.emplace_back("asked_share", thoughts / asking.scored);
  if (own_.expectation) metrics.emplace_back("loss_expected", expected.loss / expected.targets);
}

ChoiceRule ThoughtTextTask::question_rule(bool needs_answers) const {
  return {.thought = thought_, .before_completion = own_.before_completion, .needs_answers = needs_answers};
}

std::vector<std::vector<double>> ThoughtTextTask::score_questions(Machine& machine, CachedScorer& scorer,
                                                                  const ChoiceFile& file) const {
  const ChoiceScoring rule{.thought = thought_, .prefix_lm = own_.prefix_lm};
  std::vector<float> own;
  for (const auto& [first, end] : machine.own_shares(std::ssize(file.questions))) {
    const auto part = std::span(file.questions).subspan(static_cast<size_t>(first), static_cast<size_t>(end - first));
    for (const std::vector<double>& scores : score_completions(scorer, model().config(), machine.compute, part, rule))
      own.insert(own.end(), scores.begin(), scores.end());
  }
  const std::vector<float> all = machine.communicator.gather(own);
  std::vector<std::vector<double>> scores;
  size_t at = 0;
  for (const ChoiceQuestion& question : file.questions) {
    const auto begin = all.begin() + static_cast<ptrdiff_t>(at);
    at += question.completions.size();
    scores.emplace_back(begin, all.begin() + static_cast<ptrdiff_t>(at));
  }
  return scores;
}

void ThoughtTextTask::evaluate_questions(Machine& machine, Metrics& metrics) {
  if (questions_.empty())
    questions_ = read_choice_files(own_.questions, tokenizer(), model().config(), question_rule(true));
  const std::unique_ptr<CachedScorer> scorer = make_scorer(machine);
  Right total;
  int64_t skipped = 0;
  for (const ChoiceFile& file : questions_) {
    const std::vector<std::vector<double>> scores = score_questions(machine, *scorer, file);
    Right own;
    for (size_t q = 0; q < scores.size(); ++q) {
      const ChoiceQuestion& question = file.questions[q];
      const int64_t choice = best_of(scores[q]);
      const bool is_right = choice == question.answer;
      own.right += is_right;
      own.all += 1;
      const auto text_of = [&](int64_t completion) {
        return tokenizer().decode(question.completions[static_cast<size_t>(completion)], true);
      };
      const nlohmann::ordered_json line = prediction(question, scores[q],
                                                     {{"file", file.file},
                                                      {"input", tokenizer().decode(question.context, true)},
                                                      {"label", text_of(question.answer)},
                                                      {"prediction", text_of(choice)},
                                                      {"right", is_right}});
      predictions_ += line.dump() + "\n";
      // Documents have losses of another kind.
      if (suspects_ && !eval_) suspects_->add(loss_of_choice(scores[q], question.answer), [&] { return line; });
    }
    metrics.emplace_back("accuracy_" + file.name, own.share());
    total.right += own.right;
    total.all += own.all;
    skipped += file.skipped;
  }
  metrics.emplace_back("accuracy", total.share());
  metrics.emplace_back("skipped_questions", static_cast<double>(skipped));
}

Metrics ThoughtTextTask::evaluate(Machine& machine, std::string& samples) {
  if (!train_ && !eval_ && !has_questions())
    fail_usage("nothing to evaluate on: name documents in data.eval, or files of questions in thought.questions");
  Metrics metrics;
  predictions_.clear();
  if (eval_) evaluate_documents(machine, metrics);
  if (eval_ && own_.learns_to_ask()) evaluate_asking(machine, metrics);
  if (has_questions()) evaluate_questions(machine, metrics);
  if (own_.samples > 0) samples = generate(machine);
  if (own_.searches() && eval_) samples += show_search(machine, metrics);
  return metrics;
}

std::string ThoughtTextTask::show_search(Machine& machine, Metrics& metrics) {
  std::vector<std::vector<int32_t>> candidates;
  for (int64_t row = 0; row < eval_->rows() && std::ssize(candidates) < own_.search_group; ++row)
    eval_->each_sequence(row, [&](int64_t, std::vector<int32_t>& tokens) {
      if (std::ssize(candidates) == own_.search_group || !drop_for_thoughts(plan_, tokens)) return;
      candidates.push_back(std::move(tokens));
    });
  const SearchResult result = search_.run(machine, *make_scorer(machine), candidates, evaluation_seed);
  double gain = 0, kept = 0;
  for (const Trial& trial : result.trials)
    if (trial.kept) gain += static_cast<double>(trial.gain), ++kept;
  if (kept > 0) metrics.emplace_back("search_gain", gain / kept);
  std::ostringstream out;
  for (size_t i = 0; i < std::min<size_t>(result.sequences.size(), 2); ++i)
    out << "--- searched " << i + 1 << " ---\n" << search_.text_of(result.sequences[i]) << "\n";
  out << "gains of the thoughts that were kept, in nats a target:";
  for (const Trial& trial : result.trials)
    if (trial.kept) out << " " << trial.gain;
  out << "\n";
  return out.str();
}

std::string ThoughtTextTask::generate(Machine& machine) const {
  const GenerationConfig& generation = config_.generation;
  // At temperature 0 all texts would be the same.
  const auto count = static_cast<size_t>(generation.temperature > 0 ? own_.samples : 1);
  const std::vector<std::vector<int32_t>> prompts(count, encode_prompt(tokenizer(), own_.sample_prompt));
  GenerationOptions options = generation_options(generation, model(), tokenizer(), config_.seed);
  options.uncounted = {.token = thought_, .most_in_a_row = own_.most_in_a_row};
  const auto texts = make_generator(machine, static_cast<int64_t>(count))->generate(prompts, options);
  std::ostringstream out;
  for (size_t i = 0; i < texts.size(); ++i)
    out << "--- sample " << i + 1 << " ---\n"
        << own_.sample_prompt << text_with_thoughts(tokenizer(), texts[i], thought_, own_.show) << "\n";
  return out.str();
}

void ThoughtTextTask::predict(Machine& machine, const std::filesystem::path& input,
                              const std::filesystem::path& output) {
  const ChoiceFile file = read_choices(input.string(), tokenizer(), model().config(), question_rule(false));
  const std::unique_ptr<CachedScorer> scorer = make_scorer(machine);
  const std::vector<std::vector<double>> scores = score_questions(machine, *scorer, file);
  if (!machine.communicator.is_first()) return;
  std::string lines;
  for (size_t q = 0; q < scores.size(); ++q)
    lines += prediction(file.questions[q], scores[q], nlohmann::ordered_json::object()).dump() + "\n";
  write_file(output, lines);
  if (file.skipped > 0)
    std::cerr << file.file << ": " << file.skipped << " questions are longer than the model and are skipped\n";
}

}  // namespace engine
