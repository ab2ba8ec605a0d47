#include "tasks/gpt/gpt.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/error.h"
#include "core/hash.h"
#include "tasks/cache_folder.h"
#include "tasks/gpt/permutation.h"

namespace engine {

namespace {

// Evaluation goes through its data in pieces of this many tokens, so that it may be long.
constexpr size_t tokens_at_a_time = size_t{1} << 18;

}  // namespace

void GptConfig::declare(Options& options) {
  options.add("gpt.eval_share", eval_share, from_up_to_below(0, 1),
              "the part of the training tokens, their end, that is kept for evaluation where data.eval names no file");
  options.add("gpt.samples", samples, at_least(0), "texts generated at each evaluation, as [generation] says");
  options.add("gpt.sample_prompt", sample_prompt, any_value(),
              "the beginning of these texts; empty: the start of a document");
}

GptTask::GptTask(const Config& config, const GptConfig& own, LanguageModel language, bool training)
    : CausalTask(config, std::move(language)), own_(own) {
  const int64_t positions = model().config().max_positions;
  block_size_ = config.data.block_size ? config.data.block_size : positions;
  if (block_size_ > positions)
    fail_usage("data.block_size is ", block_size_, ", but the model has only ", positions, " positions");
  open_data(training);
  if (training && own.samples > 0) require_prompt(tokenizer(), own.sample_prompt, "gpt");
}

void GptTask::open_data(bool training) {
  const DataConfig& data = config_.data;
  const CacheFolder cache(config_, training);
  fingerprint_ = "tokenizer " + hexadecimal(tokenizer().digest());
  const auto open = [&](const std::vector<std::string>& files) {
    const std::string split = split_of(files, data);
    auto file = std::make_shared<const TokenFile>(cache.path() / (split + ".tokens"), files, tokenizer());
    fingerprint_ += ", " + split + " data of " + std::to_string(file->size()) + " tokens " + hexadecimal(file->hash());
    return Part{file, 0, file->size()};
  };
  const bool shared = data.eval.empty() && own_.eval_share > 0;
  if (training || shared) train_ = open(data.train);
  if (!data.eval.empty()) {
    eval_ = open(data.eval);
    require(eval_.size >= 2, "data.", split_of(data.eval, data), " holds ", eval_.size,
            " tokens: at least 2 are needed");
  } else if (shared) {
    eval_ = train_;
    eval_.size = static_cast<int64_t>(static_cast<double>(train_.size) * own_.eval_share);
    train_.size -= eval_.size;
    eval_.begin = train_.size;
    require(eval_.size >= 2, "gpt.eval_share leaves ", eval_.size, " tokens of data.train for evaluation: raise it");
  }
  if (training)
    require(train_.size > block_size_, "data.train holds ", train_.size, " tokens to train on: at least ",
            block_size_ + 1, " are needed, one more than data.block_size");
}

int64_t GptTask::steps_per_epoch() const {
  const int64_t batch = sequences_a_step(block_size_);
  return (blocks() + batch - 1) / batch;
}

void GptTask::append_block(const Part& part, int64_t block, SequenceBatch& batch) const {
  const int64_t begin = block * block_size_, count = std::min(block_size_, part.size - 1 - begin);
  part.file->append(part.begin + begin, count, batch.tokens);
  part.file->append(part.begin + begin + 1, count, batch.targets.labels);
  batch.end_sequence();
}

void GptTask::batch_of(int64_t step, SequenceBatch& batch) {
  batch.clear();
  const int64_t count = sequences_a_step(block_size_), steps = steps_per_epoch();
  const int64_t epoch = step / steps, begin = step % steps * count;
  for (int64_t i = begin; i < std::min(begin + count, blocks()); ++i) {
    const int64_t one =
        config_.data.shuffle ? permuted(i, blocks(), config_.seed, static_cast<uint64_t>(epoch)) : i;
    append_block(train_, spread_index(one, blocks(), all_blocks()), batch);
  }
}

Metrics GptTask::evaluate(Machine& machine, std::string& samples) {
  Metrics metrics;
  if (eval_.size) {
    LossTotals totals;
    SequenceBatch batch;
    const int64_t all = (eval_.size - 2) / block_size_ + 1, count = kept_at_most(config_.data.eval_sequences, all);
    for (int64_t block = 0; block < count;) {
      batch.clear();
      const int64_t first = block;
      for (; block < count && batch.tokens.size() < tokens_at_a_time; ++block)
        append_block(eval_, spread_index(block, count, all), batch);
      totals += step_.evaluate(machine, batch, suspects_, [&](size_t s) {
        return example_of(spread_index(first + static_cast<int64_t>(s), count, all), batch, s);
      });
    }
    metrics.emplace_back("loss", totals.loss / totals.scored);
    metrics.emplace_back("perplexity", std::exp(totals.loss / totals.scored));
  }
  if (own_.samples > 0) samples = generate(machine);
  return metrics;
}

nlohmann::ordered_json GptTask::example_of(int64_t block, const SequenceBatch& batch, size_t s) const {
  const auto begin = static_cast<size_t>(batch.offsets[s]), end = static_cast<size_t>(batch.offsets[s + 1]);
  std::vector<int32_t> tokens(batch.tokens.begin() + batch.offsets[s], batch.tokens.begin() + batch.offsets[s + 1]);
  tokens.push_back(batch.targets.labels[end - 1]);
  return {{"first_token", eval_.begin + block * block_size_},
          {"tokens", end - begin + 1},
          {"input", tokenizer().decode(tokens)}};
}

std::string GptTask::generate(Machine& machine) const {
  const GenerationConfig& generation = config_.generation;
  // At temperature 0 all texts would be the same.
  const auto count = static_cast<size_t>(generation.temperature > 0 ? own_.samples : 1);
  const std::vector<std::vector<int32_t>> prompts(count, encode_prompt(tokenizer(), own_.sample_prompt));
  Generator generator(machine.ops, model(), machine.compute, static_cast<int>(count));
  const auto texts =
      generator.generate(prompts, generation_options(generation, model(), tokenizer(), config_.seed));
  std::ostringstream out;
  for (size_t i = 0; i < texts.size(); ++i)
    out << "--- sample " << i + 1 << " ---\n" << own_.sample_prompt << tokenizer().decode(texts[i], true) << "\n";
  return out.str();
}

std::unique_ptr<Task> make_gpt_task(Config& config, const GptConfig& own, const Options& options, Ops& ops,
                                    Use use) {
  const bool training = use == Use::training;
  if (training && config.data.train.empty())
    fail_usage("data.train is missing: a text file or a list of them, such as --data.train input.txt");
  if (!training && config.data.eval.empty() && (own.eval_share == 0 || config.data.train.empty()))
    fail_usage("data.eval is missing: the text file, or a list of them, to evaluate on");
  auto language = make_language_model(config, options, choose_tokenizer(config, training), ops, use);
  return std::make_unique<GptTask>(config, own, std::move(language), training);
}

}  // namespace engine
