#include "tasks/classification/classification.h"

#include <algorithm>
#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"
#include "tasks/cache_folder.h"
#include "tasks/language_model.h"
#include "training/subset.h"

namespace engine {

namespace {

constexpr size_t samples_shown = 20;

}  // namespace

const ClassificationKind& cola_kind() {
  static const ClassificationKind kind{.task = "cola",
                                       .format = GlueFormat::cola,
                                       .labels = {"unacceptable", "acceptable"},
                                       .best_metric = "matthews"};
  return kind;
}

const ClassificationKind& sst2_kind() {
  static const ClassificationKind kind{.task = "sst2",
                                       .format = GlueFormat::sst2,
                                       .labels = {"negative", "positive"},
                                       .best_metric = "accuracy"};
  return kind;
}

double Confusion::accuracy() const {
  const double right = counts[0][0] + counts[1][1], wrong = counts[0][1] + counts[1][0];
  return right / (right + wrong);
}

double Confusion::matthews() const {
  const double tn = counts[0][0], tp = counts[1][1], fn = counts[0][1], fp = counts[1][0];
  const double below = std::sqrt(tp + fp) * std::sqrt(tp + fn) * std::sqrt(tn + fp) * std::sqrt(tn + fn);
  return below > 0 ? (tp * tn - fp * fn) / below : 0;
}

std::vector<int32_t> ClassificationTask::Split::lengths() const {
  std::vector<int32_t> lengths;
  for (size_t i = 0; i < size(); ++i) lengths.push_back(static_cast<int32_t>(begins[i + 1] - begins[i]));
  return lengths;
}

void ClassificationTask::Split::keep(int64_t count) {
  const auto all = static_cast<int64_t>(size());
  if (count == all) return;
  Split kept;
  for (int64_t i = 0; i < count; ++i) {
    const auto from = static_cast<size_t>(spread_index(i, count, all));
    kept.ids.insert(kept.ids.end(), ids.begin() + static_cast<ptrdiff_t>(begins[from]),
                    ids.begin() + static_cast<ptrdiff_t>(begins[from + 1]));
    kept.begins.push_back(kept.ids.size());
    kept.examples.push_back(std::move(examples[from]));
  }
  examples = std::move(kept.examples);
  ids = std::move(kept.ids);
  begins = std::move(kept.begins);
}

ClassificationTask::ClassificationTask(const Config& config, const ClassificationKind& kind, Encoder encoder,
                                       bool training)
    : EncoderTask(config, std::move(encoder)), kind_(kind) {
  most_tokens_ = static_cast<size_t>(longest_sequence(config, model(), tokenizer()));
  fingerprint_ = fingerprint_of(tokenizer());
  if (!config.data.eval.empty()) eval_ = open("data." + split_of(config.data.eval, config.data), config.data.eval);
  eval_.keep(kept_at_most(config.data.eval_sequences, static_cast<int64_t>(eval_.size())));
  if (!training) return;
  train_ = open("data.train", config.data.train);
  train_.keep(kept_of_share(config.data.train_share, static_cast<int64_t>(train_.size())));
  fingerprint_ += ", " + std::to_string(train_.size()) + " sentences " + hexadecimal(train_.digest);
  plan_epochs(train_.lengths());
}

ClassificationTask::Split ClassificationTask::encode(const std::vector<std::string>& files, Kept kept) const {
  Split split;
  std::string digested;
  for (const std::string& file : files) {
    ExampleFile read = read_examples(file, kind_.format, /*may_be_a_list=*/kept == Kept::all);
    if (kept == Kept::labelled && !read.labelled)
      fail_usage("data.", split_of(files, config_.data), " names ", file,
                 ", which has no labels: they are needed here; see predict");
    for (Example& example : read.examples) {
      Framed framed = encode_framed(tokenizer(), example.text);
      // A sentence has no token only where the tokenizer puts nothing around it.
      if (kept == Kept::all && framed.ids.empty()) fail(file, ":", example.line, ": the sentence has no token");
      if (kept == Kept::labelled && (example.text.empty() || framed.ids.empty())) {
        ++split.empty;
        continue;
      }
      if (framed.ids.size() > most_tokens_) {
        framed = encode_framed(tokenizer(), example.text, {.max_length = most_tokens_});
        ++split.cut;
      }
      split.ids.insert(split.ids.end(), framed.ids.begin(), framed.ids.end());
      split.begins.push_back(split.ids.size());
      digested += std::to_string(example.label);
      example.file = split.files.size();
      split.examples.push_back(std::move(example));
    }
    split.files.push_back(file);
  }
  const std::string_view ids(reinterpret_cast<const char*>(split.ids.data()), split.ids.size() * sizeof(int32_t));
  split.digest = hash_of(ids) ^ hash_of(digested);
  return split;
}

ClassificationTask::Split ClassificationTask::open(const std::string& option,
                                                   const std::vector<std::string>& files) const {
  if (files.empty())
    fail_usage(option, " is missing: a file of task ", kind_.task, ", see docs/tasks/classification.md");
  Split split = encode(files, Kept::labelled);
  if (split.size() == 0) fail_usage(option, " holds nothing but empty sentences");
  return split;
}

std::string ClassificationTask::start_report() const {
  std::ostringstream text;
  text << EncoderTask::start_report();
  const auto add = [&](const char* name, const Split& split) {
    if (split.empty) text << '\n' << name << ": " << split.empty << " empty sentences are left out";
    if (split.cut) text << '\n' << name << ": " << split.cut << " sentences are cut to " << most_tokens_ << " tokens";
  };
  add("data.train", train_);
  add(("data." + split_of(config_.data.eval, config_.data)).c_str(), eval_);
  const std::string result = text.str();
  return result.starts_with('\n') ? result.substr(1) : result;
}

void ClassificationTask::append(const Split& split, size_t i, SequenceBatch& batch) const {
  const auto begin = split.ids.begin();
  batch.tokens.insert(batch.tokens.end(), begin + static_cast<ptrdiff_t>(split.begins[i]),
                      begin + static_cast<ptrdiff_t>(split.begins[i + 1]));
  batch.targets.labels.push_back(std::max(split.examples[i].label, 0));
  batch.targets.labels.resize(batch.tokens.size(), -100);
  batch.end_sequence();
}

void ClassificationTask::batch_of(int64_t step, SequenceBatch& batch) {
  batch.clear();
  for (const int32_t i : plan_->batch(step)) append(train_, static_cast<size_t>(i), batch);
}

std::vector<int32_t> ClassificationTask::classify(Machine& machine, const Split& split, LossTotals* totals) {
  std::vector<int32_t> classes(split.size());
  if (totals) losses_.assign(split.size(), 0);
  const auto add = [&](size_t i, SequenceBatch& batch) { append(split, i, batch); };
  each_piece_by_length(split.lengths(), add, [&](const SequenceBatch& batch, std::span<const size_t> chosen) {
    std::vector<int32_t> predicted;
    if (totals) {
      ScoredTokens each{.wants_losses = true, .wants_likeliest = true};
      *totals += step_.evaluate(machine, batch, &each);
      for (size_t i = 0; i < chosen.size(); ++i) losses_[chosen[i]] = each.losses[i];
      predicted = std::move(each.likeliest);
    } else {
      predicted = step_.predict(machine, batch);
    }
    require(predicted.size() == chosen.size(), "there are ", predicted.size(), " predictions for ", chosen.size(),
            " sentences");
    for (size_t i = 0; i < chosen.size(); ++i) classes[chosen[i]] = predicted[i];
  });
  return classes;
}

Metrics ClassificationTask::evaluate(Machine& machine, std::string& samples) {
  if (eval_.size() == 0 && !plan_)
    fail_usage("data.eval is missing: the file of task ", kind_.task, ", or a list of them, to evaluate on");
  if (eval_.size() == 0) return {};
  LossTotals totals;
  classes_ = classify(machine, eval_, &totals);
  const std::vector<int32_t>& classes = classes_;
  Confusion confusion;
  std::vector<size_t> wrong, right;
  for (size_t i = 0; i < eval_.size(); ++i) {
    confusion.add(classes[i], eval_.examples[i].label);
    (classes[i] == eval_.examples[i].label ? right : wrong).push_back(i);
  }
  std::ostringstream text;
  const auto name = [&](int32_t label) { return kind_.labels[static_cast<size_t>(label)]; };
  // Half of the samples are mistakes, as far as there are any.
  wrong.resize(std::min(wrong.size(), samples_shown / 2));
  right.resize(std::min(right.size(), samples_shown - wrong.size()));
  for (const auto& rows : {right, wrong})
    for (const size_t i : rows)
      text << (classes[i] == eval_.examples[i].label ? "right  " : "WRONG  ") << name(classes[i]) << " (it is "
           << name(eval_.examples[i].label) << "): " << eval_.examples[i].text << '\n';
  samples = text.str();
  for (size_t i = 0; suspects_ && i < eval_.size(); ++i)
    suspects_->add(static_cast<double>(losses_[i]), [&] { return example_of(i); });
  return {{"loss", totals.loss / totals.scored},
          {"accuracy", confusion.accuracy()},
          {"matthews", confusion.matthews()}};
}

nlohmann::ordered_json ClassificationTask::example_of(size_t i) const {
  const Example& example = eval_.examples[i];
  return {{"file", eval_.files[example.file]},
          {"line", example.line},
          {"input", example.text},
          {"label", kind_.labels[static_cast<size_t>(example.label)]},
          {"prediction", kind_.labels[static_cast<size_t>(classes_[i])]}};
}

std::string ClassificationTask::predictions() const {
  std::string lines;
  for (size_t i = 0; i < classes_.size(); ++i) {
    nlohmann::ordered_json line = example_of(i);
    line["loss"] = losses_[i];
    lines += line.dump() + "\n";
  }
  return lines;
}

void ClassificationTask::predict(Machine& machine, const std::filesystem::path& input,
                                 const std::filesystem::path& output) {
  const Split split = encode({input.string()}, Kept::all);
  if (split.cut)
    std::cerr << input.string() << ": " << split.cut << " lines are cut to " << most_tokens_ << " tokens\n";
  const std::vector<int32_t> classes = classify(machine, split);
  write_file(output, [&](std::ostream& out) {
    out << "index\tprediction\n";
    for (size_t i = 0; i < split.size(); ++i) out << split.examples[i].index << '\t' << classes[i] << '\n';
  });
}

namespace {

// A UsageError where a model's classes have other names, unless they are those of another task, which make_encoder
// tells.
void check_names_of_classes(const Config& config, const ClassificationKind& kind) {
  const ModelConfig there = read_model_config(open_run(config.init).model);
  if (there.head != HeadKind::classification) return;
  for (const ClassificationKind* known : {&cola_kind(), &sst2_kind()})
    if (are_same_classes(known->labels, there.labels)) return;
  const bool are_as_many = there.labels.size() == kind.labels.size();
  fail_usage(config.init, " has the classes ", text_of_classes(there.labels), ", task ", kind.task, " has ",
             text_of_classes(kind.labels), are_as_many ? ": name them so in id2label of its config.json, or " : ": ",
             "train it for this task first");
}

}  // namespace

std::unique_ptr<Task> make_classification_task(const ClassificationKind& kind, Config& config,
                                               const DistillationConfig& distillation, const Options& options,
                                               Ops& ops, Use use) {
  const bool training = use == Use::training;
  if (training && config.data.train.empty())
    fail_usage("data.train is missing: a file of task ", kind.task, ", see docs/tasks/classification.md");
  if (!training && !config.init.empty()) check_names_of_classes(config, kind);
  Encoder encoder = make_encoder(config, options, {HeadKind::classification, kind.labels}, tokenizer_of(config),
                                 ops, use);
  if (training) add_teacher(encoder, distillation, config, ops);
  return std::make_unique<ClassificationTask>(config, kind, std::move(encoder), training);
}

}  // namespace engine
