#include "tasks/mlm/mlm.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/error.h"
#include "core/hash.h"
#include "tasks/cache_folder.h"
#include "training/subset.h"

namespace engine {

namespace {

// Evaluation takes this masking of a sequence, training those from 0 on.
constexpr uint32_t masks_of_evaluation = ~uint32_t{0};
constexpr uint64_t masking_key = 0x6d61736b696e6773u;  // keeps the draws apart from others of the same seed

}  // namespace

void MlmConfig::declare(Options& options) {
  options.add("mlm.masking", masking, one_of({"dynamic", "static"}),
              "dynamic: new masks every epoch; static: those of mlm.copies, in turn");
  options.add("mlm.copies", copies, between(1, 1e9),
              "the number of differently masked copies that static masking goes round")
      .needs([this] { return masking == "static"; }, "mlm.masking = \"static\"");
  options.add("mlm.mask_share", mask_share, between(0.001, 1),
              "the part of a sequence's tokens that is masked, at least one token");
  options.add("mlm.lines", lines,
              "a sequence is a line of text (truncated where it is too long); false: a block of the text");
  options.add("mlm.clean", clean, "read only letters, digits, white space and , . ! ? ' \" - of the text");
  options.add("mlm.eval_share", eval_share, from_up_to_below(0, 1),
              "the part of the training sequences, their end, that is kept for evaluation where data.eval names no "
              "file");
  options.add("mlm.samples", samples, at_least(0),
              "the number of sequences that each evaluation shows with guesses and truth");
}

MlmTask::MlmTask(const Config& config, const MlmConfig& own, Encoder encoder, bool training)
    : EncoderTask(config, std::move(encoder)), own_(own), masking_(tokenizer(), own.mask_share) {
  open_data(training);
  if (!training) return;
  std::vector<int32_t> lengths;
  for (int64_t i = 0; i < train_.size(); ++i) lengths.push_back(train_.length(i));
  plan_epochs(std::move(lengths));
}

void MlmTask::open_data(bool training) {
  const DataConfig& data = config_.data;
  const SequenceRule rule{longest_sequence(config_, model(), tokenizer()), own_.lines, own_.clean};
  const CacheFolder cache(config_, training);
  fingerprint_ = fingerprint_of(tokenizer());
  const auto open = [&](const std::vector<std::string>& files) {
    const std::string split = split_of(files, data);
    Sequences sequences(cache.path() / (split + ".tokens"), files, tokenizer(), rule);
    fingerprint_ += ", " + split + " data of " + std::to_string(sequences.tokens()) + " tokens " +
                    hexadecimal(sequences.hash());
    return sequences;
  };
  const bool shared = data.eval.empty() && own_.eval_share > 0;
  if (training || shared) train_ = open(data.train);
  if (!data.eval.empty()) {
    eval_ = open(data.eval);
    require(eval_.size() > 0, "data.", split_of(data.eval, data), " holds no token");
  } else if (shared) {
    eval_ = train_.split_off(static_cast<int64_t>(static_cast<double>(train_.size()) * own_.eval_share));
    require(eval_.size() > 0, "mlm.eval_share leaves no sequence of data.train for evaluation: raise it");
  }
  eval_.keep(kept_at_most(data.eval_sequences, eval_.size()));
  if (!training) return;
  require(train_.size() > 0, "data.train holds no token to train on");
  train_.keep(kept_of_share(data.train_share, train_.size()));
}

std::string MlmTask::start_report() const {
  std::string text = EncoderTask::start_report();
  const auto add = [&](const char* name, const Sequences& sequences) {
    const std::string line = text.empty() ? "" : "\n";
    if (sequences.size()) text += line + name + ": " + std::to_string(sequences.size()) + " sequences";
    if (sequences.skipped()) text += ", " + std::to_string(sequences.skipped()) + " lines without a token are skipped";
    const auto is_candidate = [&](int32_t token) { return masking_.is_candidate(token); };
    if (const int64_t empty = sequences.count_without(is_candidate))
      text += ", " + std::to_string(empty) + " of them hold special tokens alone and are passed over";
    if (sequences.cut()) text += ", " + std::to_string(sequences.cut()) + " lines are cut";
  };
  add("training data", train_);
  add("evaluation data", eval_);
  return text;
}

void MlmTask::append(const Sequences& sequences, int64_t i, uint32_t masks, SequenceBatch& batch) {
  const size_t begin = batch.tokens.size();
  sequences.append(i, batch.tokens);
  batch.targets.labels.resize(batch.tokens.size());
  Random random(config_.seed ^ masking_key, uint64_t{masks} << 32 ^ static_cast<uint64_t>(i));
  masking_.apply(std::span(batch.tokens).subspan(begin), std::span(batch.targets.labels).subspan(begin), random);
  batch.end_sequence();
}

void MlmTask::batch_of(int64_t step, SequenceBatch& batch) {
  batch.clear();
  const std::span<const int32_t> chosen = plan_->batch(step);
  const int64_t copies = own_.masking == "static" ? own_.copies : masks_of_evaluation;
  for (const int32_t i : chosen) append(train_, i, static_cast<uint32_t>(plan_->epoch() % copies), batch);
}

Metrics MlmTask::evaluate(Machine& machine, std::string& samples) {
  if (eval_.size() == 0) return {};
  LossTotals totals;
  SequenceBatch batch;
  int64_t without_labels = 0;
  for (int64_t i = 0; i < eval_.size();) {
    batch.clear();
    const int64_t first = i;
    for (; i < eval_.size() && batch.tokens.size() < tokens_at_a_time; ++i)
      append(eval_, i, masks_of_evaluation, batch);
    for (int64_t s = 0; s < batch.sequences(); ++s) without_labels += batch.scored(s, s + 1) == 0;
    totals += step_.evaluate(machine, batch, suspects_, [&](size_t s) {
      return example_of(first + static_cast<int64_t>(s), batch, s);
    });
  }
  // Data of special tokens alone says nothing about the model.
  if (totals.scored == 0) return {};
  if (own_.samples > 0) samples = show(machine);
  const double loss = totals.loss / totals.scored;
  Metrics metrics{{"loss", loss}, {"perplexity", std::exp(loss)}, {"accuracy", totals.correct / totals.scored}};
  if (without_labels) metrics.emplace_back("sequences_without_labels", static_cast<double>(without_labels));
  return metrics;
}

nlohmann::ordered_json MlmTask::example_of(int64_t i, const SequenceBatch& batch, size_t s) const {
  const auto begin = static_cast<size_t>(batch.offsets[s]), end = static_cast<size_t>(batch.offsets[s + 1]);
  std::vector<int32_t> tokens;
  eval_.append(i, tokens);
  return {{"sequence", i},
          {"input", tokenizer().decode(std::span(batch.tokens).subspan(begin, end - begin))},
          {"label", tokenizer().decode(tokens)}};
}

std::string MlmTask::show(Machine& machine) {
  SequenceBatch batch;
  const int64_t count = std::min<int64_t>(own_.samples, eval_.size());
  for (int64_t i = 0; i < count; ++i) append(eval_, i, masks_of_evaluation, batch);
  const std::vector<int32_t> guesses = step_.predict(machine, batch);
  std::ostringstream out;
  size_t scored = 0;
  for (size_t s = 0; s < static_cast<size_t>(count); ++s) {
    const auto begin = static_cast<size_t>(batch.offsets[s]), end = static_cast<size_t>(batch.offsets[s + 1]);
    out << "--- sample " << s + 1 << " ---\n"
        << tokenizer().decode(std::span(batch.tokens).subspan(begin, end - begin)) << '\n';
    for (size_t i = begin; i < end; ++i) {
      if (batch.targets.labels[i] == -100) continue;
      const int32_t guess = guesses[scored++];
      out << (guess == batch.targets.labels[i] ? "right" : "WRONG") << "  token " << i - begin << " reads "
          << text_of(batch.tokens[i]) << ": guess " << text_of(guess) << ", truth "
          << text_of(batch.targets.labels[i]) << '\n';
    }
  }
  return out.str();
}

std::string MlmTask::text_of(int32_t token) const {
  if (token < tokenizer().vocab_size()) return tokenizer().token(token);
  // The model's vocabulary may be larger than the tokenizer's.
  return "(id " + std::to_string(token) + ")";
}

std::unique_ptr<Task> make_mlm_task(Config& config, const MlmConfig& own, const DistillationConfig& distillation,
                                    const Options& options, Ops& ops, Use use) {
  const bool training = use == Use::training;
  if (training && config.data.train.empty())
    fail_usage("data.train is missing: a text file or a list of them, such as --data.train input.txt");
  if (!training && config.data.eval.empty() && (own.eval_share == 0 || config.data.train.empty()))
    fail_usage("data.eval is missing: the text file, or a list of them, to evaluate on");
  Encoder encoder =
      make_encoder(config, options, {HeadKind::masked, {}}, tokenizer_of(config), ops, use);
  if (training) add_teacher(encoder, distillation, config, ops);
  return std::make_unique<MlmTask>(config, own, std::move(encoder), training);
}

}  // namespace engine
