#include "tasks/squad/squad.h"

#include <algorithm>
#include <iostream>
#include <sstream>

#include "core/error.h"
#include "core/parallel.h"
#include "core/hash.h"
#include "models/span_objective.h"
#include "tasks/cache_folder.h"
#include "tasks/squad/prediction_files.h"
#include "tasks/squad/scores.h"
#include "training/subset.h"

namespace engine {

namespace {


int64_t kept_of_training(const DataConfig& data, int64_t all) { return kept_of_share(data.train_share, all); }
int64_t kept_of_evaluation(const DataConfig& data, int64_t all) { return kept_at_most(data.eval_sequences, all); }

// Makes the objective of a model that is there already.
std::unique_ptr<Objective> spans_of(const Encoder& encoder) { return std::make_unique<SpanObjective>(*encoder.model); }

}  // namespace

SquadTask::SquadTask(const Config& config, const SquadConfig& own, Encoder encoder, bool training)
    : EncoderTask(config, std::move(encoder), spans_of), own_(own) {
  longest_sequence("squad.max_length", own.max_length, model(), tokenizer());  // or an error
  fingerprint_ = fingerprint_of(tokenizer());
  if (!config.data.eval.empty()) eval_ = open("data.eval", config.data.eval, kept_of_evaluation);
  if (!training) return;
  train_ = open("data.train", config.data.train, kept_of_training);
  fingerprint_ += ", " + std::to_string(train_.windows().size()) + " windows " + hexadecimal(train_.digest());
  plan_epochs(train_.lengths());
}

EncodedQuestions SquadTask::open(const char* option, const std::vector<std::string>& files,
                                 int64_t (*kept)(const DataConfig&, int64_t)) const {
  QuestionSet set;
  for (const std::string& file : files) read_questions(file, AnswersWanted::yes, set);
  if (set.questions.empty()) fail_usage(option, " holds no question");
  const auto all = static_cast<int64_t>(set.questions.size()), count = kept(config_.data, all);
  if (count < all) {
    std::vector<Question> some;
    for (int64_t i = 0; i < count; ++i)
      some.push_back(std::move(set.questions[static_cast<size_t>(spread_index(i, count, all))]));
    set.questions = std::move(some);
  }
  return EncodedQuestions(std::move(set), tokenizer(), own_);
}

std::string SquadTask::start_report() const {
  std::ostringstream text;
  text << EncoderTask::start_report();
  const auto add = [&](const char* name, const EncodedQuestions& questions) {
    const QuestionSet& set = questions.set();
    if (set.questions.empty()) return;
    text << '\n' << name << ": " << set.questions.size() << " questions, " << questions.windows().size() << " windows";
    if (set.moved) text << "; " << set.moved << " answers were not at their place and are taken where they stand";
    if (set.lost) text << "; " << set.lost << " answers do not stand in their context and are left out";
    if (questions.cut_questions()) text << "; " << questions.cut_questions() << " questions are cut";
  };
  add("data.train", train_);
  add(("data." + split_of(config_.data.eval, config_.data)).c_str(), eval_);
  const std::string result = text.str();
  return result.starts_with('\n') ? result.substr(1) : result;
}

void SquadTask::append(const EncodedQuestions& questions, const Window& window, float smoothing,
                       SequenceBatch& batch) const {
  const Framed framed = questions.framed(window);
  batch.tokens.insert(batch.tokens.end(), framed.ids.begin(), framed.ids.end());
  batch.types.insert(batch.types.end(), framed.types.begin(), framed.types.end());
  batch.targets.labels.push_back(0);
  batch.targets.labels.resize(batch.tokens.size(), -100);
  const auto answer = questions.answer_in(window);
  const double negative = answer ? 1 : own_.negative_weight, both = own_.start_weight + own_.end_weight;
  const std::pair<size_t, size_t> meant = answer.value_or(std::pair<size_t, size_t>{0, 0});
  // Smoothing spreads a part of a target over all tokens.
  const double spread = static_cast<double>(smoothing), share = spread / static_cast<double>(framed.ids.size());
  const auto add = [&](double weight, bool is_meant) {
    batch.targets.spans.push_back(static_cast<float>(negative * weight / both * (share + (is_meant ? 1 - spread : 0))));
  };
  for (size_t i = 0; i < framed.ids.size(); ++i) {
    add(own_.start_weight, i == meant.first);
    add(own_.end_weight, i == meant.second);
  }
  batch.end_sequence();
}

void SquadTask::batch_of(int64_t step, SequenceBatch& batch) {
  batch.clear();
  for (const int32_t i : plan_->batch(step))
    append(train_, train_.windows()[static_cast<size_t>(i)], config_.training.label_smoothing, batch);
}

SquadTask::Logits SquadTask::logits_of(Machine& machine, const EncodedQuestions& questions, LossTotals* totals) {
  const std::vector<Window>& windows = questions.windows();
  const std::vector<int32_t> lengths = questions.lengths();
  Logits logits;
  for (const int32_t length : lengths) logits.begins.push_back(logits.begins.back() + 2 * static_cast<size_t>(length));
  logits.values.resize(logits.begins.back());
  const auto add = [&](size_t i, SequenceBatch& batch) { append(questions, windows[i], /*smoothing=*/0, batch); };
  each_piece_by_length(lengths, add, [&](const SequenceBatch& batch, std::span<const size_t> chosen) {
    ScoredTokens each{.wants_logits = true};
    const LossTotals sums = step_.evaluate(machine, batch, &each);
    if (totals) *totals += sums;
    require(each.logits.size() == 2 * batch.tokens.size(), "there are ", each.logits.size(), " logits for ",
            batch.tokens.size(), " tokens");
    for (size_t i = 0; i < chosen.size(); ++i)
      std::copy_n(each.logits.begin() + 2 * ptrdiff_t{batch.offsets[i]}, logits.of(chosen[i]).size(),
                  logits.values.begin() + static_cast<ptrdiff_t>(logits.begins[chosen[i]]));
  });
  return logits;
}

std::vector<FoundAnswers> SquadTask::answers_of(const EncodedQuestions& questions, const Logits& logits) const {
  // Windows of one question lie together.
  const std::vector<Window>& windows = questions.windows();
  std::vector<size_t> first_window(questions.set().questions.size());
  for (size_t i = windows.size(); i-- > 0;) first_window[windows[i].question] = i;
  std::vector<FoundAnswers> found(first_window.size());
  parallel_for_or_throw(static_cast<int64_t>(found.size()), [&](int64_t q) {
    const auto at = static_cast<size_t>(q);
    std::vector<WindowLogits> own;
    for (size_t i = first_window[at]; i < windows.size() && windows[i].question == at; ++i)
      own.push_back({&windows[i], logits.of(i)});
    found[at] = find_answers(questions, own, own_);
  });
  return found;
}

std::vector<FoundAnswers> SquadTask::answer(Machine& machine, const EncodedQuestions& questions) {
  return answers_of(questions, logits_of(machine, questions));
}

std::vector<std::string> SquadTask::metric_names() const {
  std::vector<std::string> names{"loss", "exact_match", "f1", "jaccard", "start_accuracy", "end_accuracy"};
  if (own_.version_2)
    for (const char* name : {"has_answer_exact", "has_answer_f1", "no_answer_exact", "no_answer_f1"})
      names.emplace_back(name);
  return names;
}

std::pair<double, double> SquadTask::accuracies(const EncodedQuestions& questions, const Logits& logits) {
  double windows = 0, starts = 0, ends = 0;
  for (size_t i = 0; i < questions.windows().size(); ++i) {
    const auto answer = questions.answer_in(questions.windows()[i]);
    if (!answer) continue;
    const std::span<const float> own = logits.of(i);
    const auto likeliest = [&](size_t column) {
      size_t best = 0;
      for (size_t token = 1; token < own.size() / 2; ++token)
        if (own[2 * token + column] > own[2 * best + column]) best = token;
      return best;
    };
    windows += 1;
    starts += likeliest(0) == answer->first;
    ends += likeliest(1) == answer->second;
  }
  return windows > 0 ? std::pair{starts / windows, ends / windows} : std::pair{0.0, 0.0};
}

Metrics SquadTask::evaluate(Machine& machine, std::string& samples) {
  if (eval_.set().questions.empty() && !plan_)
    fail_usage("data.eval is missing: the file of task squad, or a list of them, to evaluate on");
  if (eval_.set().questions.empty()) return {};
  LossTotals totals;
  const Logits logits = logits_of(machine, eval_, &totals);
  const std::vector<FoundAnswers> found = answers_of(eval_, logits);
  AnswerScores scores(own_.version_2);
  std::vector<bool> is_right;
  for (size_t q = 0; q < found.size(); ++q)
    is_right.push_back(scores.add(found[q].text, eval_.set().questions[q].truths).exact_match == 1);
  samples = sample_text(eval_.set(), found, is_right, static_cast<size_t>(own_.samples));
  predictions_ = prediction_lines(eval_.set(), found);
  Metrics metrics{{"loss", totals.loss / totals.scored}};
  for (const auto& metric : scores.metrics()) metrics.push_back(metric);
  const auto [start_accuracy, end_accuracy] = accuracies(eval_, logits);
  metrics.emplace_back("start_accuracy", start_accuracy);
  metrics.emplace_back("end_accuracy", end_accuracy);
  return metrics;
}

void SquadTask::predict(Machine& machine, const std::filesystem::path& input, const std::filesystem::path& output) {
  QuestionSet set;
  read_questions(input, AnswersWanted::no, set);
  if (set.questions.empty()) fail(input.string(), ": holds no question");
  const EncodedQuestions questions(std::move(set), tokenizer(), own_);
  if (questions.cut_questions() && machine.communicator.is_first())
    std::cerr << input.string() << ": " << questions.cut_questions() << " questions are cut to "
              << own_.max_query_length << " tokens\n";
  const std::vector<FoundAnswers> found = answer(machine, questions);
  if (machine.communicator.is_first()) write_predictions(questions.set(), found, own_.version_2, output);
}

std::unique_ptr<Task> make_squad_task(Config& config, const SquadConfig& own, const Options& options, Ops& ops,
                                      bool training) {
  if (training && config.data.train.empty())
    fail_usage("data.train is missing: a file in SQuAD's JSON schema, or a list of them");
  if (config.data.block_size)
    fail_usage("data.block_size: task squad cuts contexts into windows: set squad.max_length instead");
  if (own.start_weight + own.end_weight == 0) fail_usage("squad.start_weight and squad.end_weight are both 0");
  Encoder encoder = make_encoder(config, options, {HeadKind::question_answering, {}}, tokenizer_of(config),
                                 ops.memory(), training);
  return std::make_unique<SquadTask>(config, own, std::move(encoder), training);
}

}  // namespace engine
