#include "tasks/squad/squad.h"

#include <algorithm>
#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "core/error.h"
#include "core/parallel.h"
#include "core/hash.h"
#include "models/span_objective.h"
#include "tasks/cache_folder.h"
#include "tasks/squad/place_tokens.h"
#include "tasks/squad/null_threshold.h"
#include "tasks/squad/prediction_files.h"
#include "tasks/squad/scores.h"
#include "tasks/squad/targets.h"
#include "training/run_folder.h"
#include "training/subset.h"

namespace engine {

namespace {

// Options of the task's own loss are not read where that has no weight beside a teacher's.
void check_hard_loss(const SquadConfig& own, const DistillationConfig& distillation) {
  if (distillation.teacher.empty() || distillation.hard_weight > 0) return;
  if (own.jaccard_alpha < 1) fail_usage("squad.jaccard_alpha is not read with distillation.hard_weight = 0");
  if (own.segmentation_weight > 0)
    fail_usage("squad.segmentation_weight is not read with distillation.hard_weight = 0");
}

}  // namespace

SquadTask::SquadTask(const Config& config, const SquadConfig& own, Encoder encoder, bool training)
    : EncoderTask(config, std::move(encoder)), own_(own) {
  longest_sequence("squad.max_length", own.max_length, model(), tokenizer());  // or an error
  fingerprint_ = fingerprint_of(tokenizer());
  const std::vector<std::string>&files = config.data.eval, &train_files = config.data.train;
  const auto encoded = [&](QuestionSet set) { return EncodedQuestions(std::move(set), this->tokenizer(), own_); };
  const auto cut = [&](QuestionSet& set) { cut_contexts(set, own_.max_contents); };
  if (!files.empty()) {
    eval_ = encoded(open("data." + split_of(files, config.data), files, cut));
  } else if (own.fold >= 0 && !train_files.empty()) {
    const auto choose = [&](QuestionSet& set) {
      leave_only_fold(set, own_.fold);
      cut(set);
    };
    eval_ = encoded(open("squad.fold", train_files, choose));
  }
  if (training) read_training();
}

void SquadTask::read_training() {
  train_ = TrainingWindows(tokenizer(), RunFolder::of(config_).cache(),
                           static_cast<size_t>(own_.windows_in_memory) << 20);
  counts_ = each_piece_of_training(config_, own_, [&](QuestionSet set) {
    train_.add(EncodedQuestions(std::move(set), this->tokenizer(), own_));
  });
  train_.finish();
  if (train_.questions() == 0) fail_without_question("data.train", config_.data.train, counts_.blank > 0);
  fingerprint_ += ", " + std::to_string(train_.size()) + " windows " + hexadecimal(train_.digest());
  plan_epochs(train_.take_lengths(), train_.take_shares());
}

void SquadTask::fail_without_question(const std::string& option, const std::vector<std::string>& files,
                                      bool blank) const {
  fail_usage(option, " leaves no question", blank ? " that is not blank" : "", " of ", files.front(),
             files.size() > 1 ? " and the other files" : "",
             own_.fold >= 0 && own_.folds == 0 ? "; files without a column fold have folds by squad.folds" : "");
}

QuestionSet SquadTask::open(const std::string& option, const std::vector<std::string>& files,
                            const std::function<void(QuestionSet&)>& choose) const {
  QuestionSet set;
  for (const std::string& file : files) read_questions(file, AnswersWanted::yes, set);
  keep_languages(set, own_);
  give_folds(set, own_);
  choose(set);
  if (set.questions.empty()) fail_without_question(option, files, set.blank > 0);
  const auto all = static_cast<int64_t>(set.questions.size()), count = kept_at_most(config_.data.eval_sequences, all);
  Spread spread(count, all);
  std::erase_if(set.questions, [&](const Question&) { return !spread.keeps_next(); });
  return set;
}

std::string SquadTask::start_report() const {
  std::ostringstream text;
  text << EncoderTask::start_report();
  struct Read {
    int64_t questions, windows, cut, moved, lost, blank;
  };
  const auto add = [&](const std::string& name, const Read& read) {
    if (read.questions == 0) return;
    text << '\n' << name << ": " << read.questions << " questions, " << read.windows << " windows";
    if (read.moved) text << "; " << read.moved << " answers were not at their place and are taken where they stand";
    if (read.blank) text << "; " << read.blank << " blank questions are left out";
    if (read.lost) text << "; " << read.lost << " answers do not stand in their context and are left out";
    if (read.cut) text << "; " << read.cut << " questions are cut";
  };
  add("data.train", {train_.questions(), static_cast<int64_t>(train_.size()), train_.cut_questions(), counts_.moved,
                     counts_.lost, counts_.blank});
  if (train_.is_in_file()) text << "; they are in a file in the run folder";
  text << counts_.recipe.text();
  const QuestionSet& set = eval_.set();
  add(config_.data.eval.empty() ? "squad.fold" : "data." + split_of(config_.data.eval, config_.data),
      {static_cast<int64_t>(set.questions.size()), static_cast<int64_t>(eval_.windows().size()), eval_.cut_questions(),
       set.moved, set.lost, set.blank});
  const std::string result = text.str();
  return result.starts_with('\n') ? result.substr(1) : result;
}

void SquadTask::append(const WindowInput& input, Targets targets, SequenceBatch& batch) const {
  const auto& [framed, context, context_tokens, answer] = input;
  batch.tokens.insert(batch.tokens.end(), framed.ids.begin(), framed.ids.end());
  batch.types.insert(batch.types.end(), framed.types.begin(), framed.types.end());
  batch.targets.labels.push_back(0);
  batch.targets.labels.resize(batch.tokens.size(), -100);
  const WindowShape shape{.tokens = framed.ids.size(),
                          .context = {context, context + context_tokens},
                          .answer = answer.value_or(std::pair<size_t, size_t>{0, 0}),
                          .has_answer = answer.has_value()};
  const bool trained = targets == Targets::trained;
  SoftTargetShares shares;
  if (trained) shares = {static_cast<double>(config_.training.label_smoothing), own_.jaccard_alpha};
  const std::vector<double> first = first_token_targets(shape, shares), last = last_token_targets(shape, shares);
  const double weight = (answer ? 1 : own_.negative_weight) / (own_.start_weight + own_.end_weight);
  const auto is_covered = [&](size_t i) {
    return shape.has_answer && shape.answer.first <= i && i <= shape.answer.second;
  };
  for (size_t i = 0; i < framed.ids.size(); ++i) {
    batch.targets.spans.push_back(static_cast<float>(weight * own_.start_weight * first[i]));
    batch.targets.spans.push_back(static_cast<float>(weight * own_.end_weight * last[i]));
    if (trained && own_.segmentation_weight > 0) batch.targets.covered.push_back(is_covered(i) ? 1.0f : 0.0f);
  }
  batch.end_sequence();
}

void SquadTask::batch_of(int64_t step, SequenceBatch& batch) {
  batch.clear();
  for (const int32_t i : plan_->batch(step))
    append(train_.input(static_cast<size_t>(i)), Targets::trained, batch);
}

SquadTask::Logits SquadTask::logits_of(Machine& machine, const EncodedQuestions& questions, LossTotals* totals) {
  const std::vector<Window>& windows = questions.windows();
  const std::vector<int32_t> lengths = questions.lengths();
  Logits logits;
  for (const int32_t length : lengths) logits.begins.push_back(logits.begins.back() + 2 * static_cast<size_t>(length));
  logits.values.resize(logits.begins.back());
  const auto add = [&](size_t i, SequenceBatch& batch) {
    append(questions.input(windows[i]), Targets::evaluated, batch);
  };
  each_piece_by_length(lengths, add, [&](const SequenceBatch& batch, std::span<const size_t> chosen) {
    ScoredTokens each{.wants_logits = true};
    const LossTotals sums = step_.evaluate(machine, batch, &each);
    if (totals) *totals += sums;
    require(each.logits.size() == 2 * batch.tokens.size(), "there are ", each.logits.size(), " logits for ",
            batch.tokens.size(), " tokens");
    // Answers are sorted by them.
    if (!std::all_of(each.logits.begin(), each.logits.end(), [](float logit) { return std::isfinite(logit); }))
      fail("the model's logits are not finite: no answer is better than another");
    for (size_t i = 0; i < chosen.size(); ++i)
      std::copy_n(each.logits.begin() + 2 * ptrdiff_t{batch.offsets[i]}, logits.of(chosen[i]).size(),
                  logits.values.begin() + static_cast<ptrdiff_t>(logits.begins[chosen[i]]));
  });
  return logits;
}

std::vector<std::string> SquadTask::metric_names() const {
  std::vector<std::string> names{"loss", "exact_match", "f1", "jaccard", "start_accuracy", "end_accuracy"};
  if (own_.version_2)
    for (const char* name : {"has_answer_exact", "has_answer_f1", "no_answer_exact", "no_answer_f1"})
      names.emplace_back(name);
  if (own_.search_null_threshold)
    for (const auto& [name, value] : NullThresholds().best()) names.push_back(name);
  std::set<std::string> languages;
  for (const Question& question : eval_.set().questions)
    if (!question.language.empty()) languages.insert(question.language);
  for (const std::string& language : languages)
    for (const char* name : {"mlqa_exact_", "mlqa_f1_", "jaccard_"}) names.push_back(name + language);
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

std::vector<double> SquadTask::losses_of(const EncodedQuestions& questions, const Logits& logits) {
  std::vector<double> losses(questions.set().questions.size(), std::nan(""));
  for (size_t i = 0; i < questions.windows().size(); ++i) {
    const Window& window = questions.windows()[i];
    const bool has_answer = !questions.set().questions[window.question].truths.empty();
    const auto answer = has_answer ? questions.answer_in(window) : std::pair<size_t, size_t>{};
    if (!answer) continue;
    const std::span<const float> own = logits.of(i);
    const auto cross_entropy = [&](size_t token, size_t column) {
      double highest = -INFINITY, sum = 0;
      for (size_t at = column; at < own.size(); at += 2) highest = std::max<double>(highest, own[at]);
      for (size_t at = column; at < own.size(); at += 2) sum += std::exp(own[at] - highest);
      return highest + std::log(sum) - own[2 * token + column];
    };
    const double loss = (cross_entropy(answer->first, 0) + cross_entropy(answer->second, 1)) / 2;
    double& kept = losses[window.question];
    if (std::isnan(kept) || (has_answer ? loss < kept : loss > kept)) kept = loss;
  }
  return losses;
}

Metrics SquadTask::evaluate(Machine& machine, std::string& samples) {
  if (eval_.set().questions.empty() && !plan_)
    fail_usage("data.eval is missing: the file of task squad, or a list of them, to evaluate on");
  if (eval_.set().questions.empty()) return {};
  LossTotals totals;
  const Logits logits = logits_of(machine, eval_, &totals);
  const std::vector<FoundAnswers> found = answers_of(machine, eval_, logits);
  AnswerScores scores(own_.version_2);
  NullThresholds thresholds;
  std::vector<bool> is_right;
  for (size_t q = 0; q < found.size(); ++q) {
    const Question& question = eval_.set().questions[q];
    is_right.push_back(scores.add(found[q].text, question.truths, question.language).exact_match == 1);
    if (own_.search_null_threshold)
      thresholds.add(found[q].null_odds, score_answer(found[q].best_text, question.truths, true),
                     !question.truths.empty());
  }
  samples = sample_text(eval_.set(), found, is_right, static_cast<size_t>(own_.samples));
  const std::vector<double> losses = losses_of(eval_, logits);
  predictions_ = prediction_lines(eval_.set(), found, is_right, losses);
  for (size_t q = 0; suspects_ && q < found.size(); ++q)
    suspects_->add(losses[q], [&] { return prediction_of(eval_.set().questions[q], found[q], is_right[q]); });
  Metrics metrics{{"loss", totals.loss / totals.scored}};
  for (const auto& metric : scores.metrics()) metrics.push_back(metric);
  if (own_.search_null_threshold)
    for (const auto& metric : thresholds.best()) metrics.push_back(metric);
  const auto [start_accuracy, end_accuracy] = accuracies(eval_, logits);
  metrics.emplace_back("start_accuracy", start_accuracy);
  metrics.emplace_back("end_accuracy", end_accuracy);
  return metrics;
}

std::unique_ptr<Task> make_squad_task(Config& config, const SquadConfig& own, const DistillationConfig& distillation,
                                      const Options& options, Ops& ops, Use use) {
  const bool training = use == Use::training;
  if (training && config.data.train.empty())
    fail_usage("data.train is missing: a file in SQuAD's JSON schema, or a list of them");
  if (config.data.block_size)
    fail_usage("data.block_size: task squad cuts contexts into windows: set squad.max_length instead");
  if (training && own.negatives == "hard" && own.negative_scores.empty())
    fail_usage("squad.negatives = \"hard\" needs squad.negative_scores: files that predict writes");
  if (own.start_weight + own.end_weight == 0) fail_usage("squad.start_weight and squad.end_weight are both 0");
  check_hard_loss(own, distillation);
  const EncoderHead needed{HeadKind::question_answering, {}, place_tokens(own)};
  Encoder encoder = make_encoder(config, options, needed, tokenizer_of(config, needed.special_tokens), ops,
                                 use);
  encoder.objective = std::make_unique<SpanObjective>(*encoder.model, static_cast<float>(own.segmentation_weight));
  if (training) add_teacher(encoder, distillation, config, ops, LongestSequence{"squad.max_length", own.max_length});
  return std::make_unique<SquadTask>(config, own, std::move(encoder), training);
}

}  // namespace engine
