// Runs whole training steps (forward, backward, AdamW; with --clip clipping) and greedy generation for
// bench/compare.py. It prints one JSON line when it is ready. Then, for each number n that it reads from standard
// input, it does n steps and prints {"seconds": [...], "tokens": t, "sequences": s, "loss": l, "peak_mb": m} with the
// tokens and sequences of a step. Tokens are random and nothing is dropped. Decoders score every token, "bert" 15 % of
// them as masked, "minilm" a class a sequence. "encdec" and "bart" (which differ in PyTorch) read a source as long as
// the target, whose tokens are counted. With --thoughts a decoder's rows have so many at random places, which carry
// states as --recurrence says. --work score scores such rows without gradients, and --work search looks for --passes
// places of thoughts in rows without. --work axe scores solutions without each of their steps. With --lengths the
// batches are those of a file (sst2_lengths.py), ten in each step. With --times n it prints a JSON line for each
// operation of a training step, with the median seconds of a call over n steps, instead. With --schedule it lists the
// step of one of --ranks ranks, each of which has such a batch. Its tokens are as frequent as those of a text, for how
// many of a table's rows a step names decides what travels.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <numeric>
#include <sstream>

#include "bench/steps/operations.h"
#include "bench/steps/models.h"
#include "bench/steps/schedule.h"
#include "bench/steps/scoring.h"
#include "core/error.h"
#include "core/files.h"
#include "core/parallel.h"
#include "core/process_memory.h"
#include "kernels/backend/backend.h"
#include "kernels/backend/timed_backend.h"
#include "kernels/observe/count_ops.h"
#include "models/generation.h"
#include "training/loss_step.h"
#include "training/thought_runner.h"
#include "training/training_step.h"

namespace engine {
namespace {

struct Setting {
  std::string model = "gpt2", work = "train", precision = "auto", device = "cpu", lengths, rows;
  std::string recurrence = "none";
  int batch = 4, length = 256, prompt = 32, fresh = 64, threads = 0, times = 0, thoughts = 0, unroll = 4;
  int passes = 16, vocabulary = 0, ranks = 1;
  DeviceOptions options;
  bool clip = false, operations = false, every_operation = false, schedule = false, shard_optimizer = false;
};

TrainingConfig training_config(const Setting& setting) {
  // A step is one pass, whatever its size.
  return {.micro_batch_size = INT32_MAX,
          .shard_optimizer = setting.shard_optimizer,
          .weight_decay = 0.1f,
          .adam_beta2 = 0.95f,
          .max_grad_norm = setting.clip ? 1.0f : 0.0f};
}

std::vector<int32_t> random_tokens(int64_t count, int64_t vocabulary, Random& random) {
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  for (int32_t& token : tokens) token = static_cast<int32_t>(random.below(static_cast<uint32_t>(vocabulary)));
  return tokens;
}

// Draws tokens by Zipf's law, the k-th about 1 / k as often as the first.
std::vector<int32_t> zipf_tokens(int64_t count, int64_t vocabulary, Random& random) {
  const float range = std::log(static_cast<float>(vocabulary) + 1);
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  for (int32_t& token : tokens) {
    const auto rank = static_cast<int64_t>(std::exp(range * random.uniform()));  // from 1
    token = static_cast<int32_t>(std::clamp<int64_t>(rank, 1, vocabulary) - 1);
  }
  return tokens;
}

// Reads the lengths of each batch's sequences.
std::vector<std::vector<int>> lengths_of(const Setting& setting) {
  if (setting.lengths.empty())
    return {std::vector<int>(static_cast<size_t>(setting.batch * setting.ranks), setting.length)};
  std::vector<std::vector<int>> result;
  std::istringstream text(read_text(setting.lengths));
  for (std::string line; std::getline(text, line);) {
    std::istringstream numbers(line);
    result.emplace_back(std::istream_iterator<int>(numbers), std::istream_iterator<int>());
  }
  return result;
}

// Replaces tokens of each row but its first one by thoughts, as many as are asked for.
void put_thoughts(int thoughts, int32_t thought, Random& random, SequenceBatch& batch) {
  for (size_t s = 0; s + 1 < batch.offsets.size(); ++s) {
    const auto begin = static_cast<size_t>(batch.offsets[s]), end = static_cast<size_t>(batch.offsets[s + 1]);
    std::vector<size_t> places(end - begin - 1);
    std::iota(places.begin(), places.end(), begin + 1);
    require(static_cast<size_t>(thoughts) <= places.size(), "a row has too few tokens for its thoughts");
    for (int i = 0; i < thoughts; ++i) {
      const auto left = static_cast<uint32_t>(places.size() - static_cast<size_t>(i));
      std::swap(places[static_cast<size_t>(i)], places[static_cast<size_t>(i) + random.below(left)]);
      batch.tokens[places[static_cast<size_t>(i)]] = thought;
    }
  }
}

std::unique_ptr<BatchRunner> runner_of(Model& model, const Setting& setting) {
  if (setting.recurrence == "none") return make_plain_runner(model);
  return make_thought_runner(model, {.is_exact = setting.recurrence == "exact", .passes = setting.unroll});
}

SequenceBatch random_batch(const std::vector<int>& lengths, const ModelConfig& config, Random& random,
                           bool follows_zipf = false) {
  const auto draw = follows_zipf ? zipf_tokens : random_tokens;
  SequenceBatch batch;
  for (const int length : lengths) {
    const size_t begin = batch.tokens.size();
    for (const int32_t token : draw(length, config.vocab_size, random)) batch.tokens.push_back(token);
    if (config.head == HeadKind::classification) {
      batch.targets.labels.resize(batch.tokens.size(), -100);
      batch.targets.labels[begin] = static_cast<int32_t>(random.below(2));
    } else {
      for (const int32_t label : random_tokens(length, config.vocab_size, random))
        batch.targets.labels.push_back(config.head == HeadKind::masked && random.uniform() >= 0.15f ? -100 : label);
    }
    if (is_encoder_decoder(config.architecture))
      for (const int32_t token : draw(length, config.vocab_size, random)) batch.sources.push_back(token);
    batch.end_sequence();
  }
  return batch;
}

// Takes training steps over the same batches, repeatedly.
class Training {
 public:
  Training(Ops& ops, Model& model, DType compute, const Setting& setting, Communicator& ranks)
      : config_(training_config(setting)), arena_(ops.memory()), machine_{ops, arena_, compute, ranks},
        step_(machine_, model.parameters(), config_, /*seed=*/1, /*measures_norm=*/setting.clip),
        loss_(model, std::make_unique<CrossEntropyObjective>(model), runner_of(model, setting)) {
    Random random(7, 0);
    for (const std::vector<int>& lengths : lengths_of(setting))
      batches_.push_back(random_batch(lengths, model.config(), random, setting.schedule));
    for (SequenceBatch& batch : batches_)
      if (setting.thoughts) put_thoughts(setting.thoughts, model.config().thought_token, random, batch);
    at_once_ = batches_.size() == 1 ? 1 : 10;
  }

  // Makes as many batches as a step has.
  float step() {
    float loss = 0;
    tokens_ = sequences_ = 0;
    for (int i = 0; i < at_once_; ++i) loss = train(batches_[next_++ % batches_.size()]);
    return loss;
  }
  int64_t tokens() const { return tokens_; }  // of the last step
  int64_t sequences() const { return sequences_; }
  std::vector<MemoryUse> memory(Parameters& parameters) {
    return memory_uses(machine_, parameters, step_, Averaging(machine_.ops, parameters, config_));
  }

 private:
  float train(const SequenceBatch& batch) {
    const StepResult result = step_.run(loss_, batch, steps_, steps_ + 1, 1e-4f);
    ++steps_;
    tokens_ += static_cast<int64_t>(batch.tokens.size());
    sequences_ += batch.sequences();
    return static_cast<float>(result.loss());
  }

  TrainingConfig config_;
  Arena arena_;
  Machine machine_;
  TrainingStep step_;
  LossStep loss_;
  std::vector<SequenceBatch> batches_;
  size_t next_ = 0;
  int at_once_ = 1;
  int64_t steps_ = 0, tokens_ = 0, sequences_ = 0;
};

struct StepResult {
  float loss;
  int64_t tokens, sequences;
};

template <class Step>
void serve(const Step& step) {
  for (int i = 0; i < 2; ++i) step();
  std::cout << "{\"ready\": true}" << std::endl;
  for (int count; std::cin >> count;) {
    std::cout << "{\"seconds\": [";
    StepResult result{};
    for (int i = 0; i < count; ++i) {
      const auto begin = std::chrono::steady_clock::now();
      result = step();
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
      std::cout << (i ? ", " : "") << seconds.count();
    }
    std::cout << "], \"tokens\": " << result.tokens << ", \"sequences\": " << result.sequences
              << ", \"loss\": " << result.loss << ", \"peak_mb\": " << (peak_memory() >> 20) << "}" << std::endl;
  }
}

// Prints a JSON line for each operation.
void list(const std::vector<OperationCount>& counts) {
  for (const OperationCount& count : counts) std::cout << json_of(count).dump() << "\n";
}

// Times the operations of training steps, behind two steps that make what later ones use.
void time_steps(TimeOps& ops, Training& training, int steps) {
  for (int i = 0; i < 2; ++i) training.step();
  for (int i = 0; i < 1 + steps; ++i) {
    ops.begin_run();
    training.step();
  }
  for (const OperationTime& time : ops.times()) {
    nlohmann::json line = json_of(time.operation);
    line["seconds"] = time.seconds;
    std::cout << line.dump() << "\n";
  }
}

// Lists a step of one of several ranks.
void list_schedule(const Setting& setting) {
  Schedule schedule(setting.ranks);
  const std::unique_ptr<Model> model = make_model(config_of(setting.model));
  model->parameters().allocate(schedule.ops().memory(), true);
  const DType compute = compute_precision(setting.precision, "cpu");
  Training training(schedule.ops(), *model, compute, setting, schedule.ranks());
  schedule.begin_step();
  training.step();
  schedule.print(model->parameters(), training.memory(model->parameters()), std::cout);
}

// Serves steps that score all trials of axe.
void run_axe(Ops& ops, DType compute, const Setting& setting) {
  const std::unique_ptr<Model> model = make_model(config_of(setting.model));
  model->parameters().allocate(ops.memory(), false);
  model->parameters().initialise(1);
  std::vector<std::string> rows;
  std::istringstream text(read_text(setting.rows));
  for (std::string row; std::getline(text, row);) rows.push_back(row);
  AxeWork work(ops, *model, compute, std::move(rows));
  serve([&] { return StepResult{work.step(), work.tokens(), work.rows()}; });
}

// Serves steps that score rows or search in them.
void run_scoring(Ops& ops, DType compute, const Setting& setting) {
  ModelConfig config = config_of(setting.model);
  const bool searches = setting.work == "search";
  if (setting.vocabulary) config.vocab_size = setting.vocabulary;
  config.thought_token = static_cast<int32_t>(config.vocab_size) - 1;
  config.thought_states = setting.recurrence != "none";
  config.max_positions = std::max<int64_t>(config.max_positions, setting.length + setting.passes);
  const std::unique_ptr<Model> model = make_model(config);
  model->parameters().allocate(ops.memory(), false);
  model->parameters().initialise(1);
  Random random(7, 0);
  SequenceBatch batch = random_batch(lengths_of(setting).front(), config, random);
  for (int32_t& token : batch.tokens)
    if (token == config.thought_token) token = 0;
  if (setting.thoughts) put_thoughts(setting.thoughts, config.thought_token, random, batch);
  std::vector<std::vector<int32_t>> rows;
  for (size_t s = 0; s + 1 < batch.offsets.size(); ++s)
    rows.emplace_back(batch.tokens.begin() + batch.offsets[s], batch.tokens.begin() + batch.offsets[s + 1]);
  CachedScorer scorer(ops, *model, compute);
  serve([&] {
    const float result = searches ? search_rows(scorer, config.thought_token, rows, setting.passes)
                                  : score_rows(scorer, rows);
    return StepResult{result, std::ssize(batch.tokens), std::ssize(rows)};
  });
}

void run(const Setting& setting) {
  set_threads(setting.threads);
  if (setting.schedule) return list_schedule(setting);
  std::vector<OperationCount> counts;
  const bool counted = setting.operations || setting.every_operation;
  const std::unique_ptr<TimeOps> timer = setting.times ? make_timed_ops(setting.device, setting.options) : nullptr;
  const std::unique_ptr<Ops> untimed =
      timer ? nullptr : counted ? make_count_ops(counts) : make_ops(setting.device, setting.options);
  Ops* const ops = timer ? timer.get() : untimed.get();
  if (setting.every_operation) {
    run_every_operation(*ops);
    return list(counts);
  }
  const DType compute = compute_precision(setting.precision, setting.device);
  const bool trains = setting.work == "train";
  if (timer && !trains) fail_usage("--times times training steps: set --work train");
  if (trains) {
    ModelConfig config = config_of(setting.model);
    if (setting.vocabulary) config.vocab_size = setting.vocabulary;
    config.thought_token = static_cast<int32_t>(config.vocab_size) - 1;
    config.thought_states = setting.recurrence != "none";
    const std::unique_ptr<Model> model = make_model(config);
    model->parameters().allocate(ops->memory(), true);
    model->parameters().initialise(1);
    Communicator one_rank;
    Training training(*ops, *model, compute, setting, one_rank);
    if (setting.operations) {
      training.step();
      return list(counts);
    }
    if (timer) return time_steps(*timer, training, setting.times);
    return serve([&] { return StepResult{training.step(), training.tokens(), training.sequences()}; });
  }
  if (setting.work == "axe") return run_axe(*ops, compute, setting);
  if (setting.work != "generate") return run_scoring(*ops, compute, setting);
  const std::unique_ptr<Model> model = make_model(config_of(setting.model), generating_kinds);
  model->parameters().allocate(ops->memory(), false);
  model->parameters().initialise(1);
  Random random(7, 0);
  std::vector<std::vector<int32_t>> texts;
  for (int s = 0; s < setting.batch; ++s)
    texts.push_back(random_tokens(setting.prompt, model->config().vocab_size, random));
  const std::vector<std::vector<int32_t>> starts(texts.size(), {2});  // of targets, where the texts are sources
  Generator generator(*ops, *model, compute, setting.batch);
  serve([&] {
    const GenerationOptions options{.max_new_tokens = setting.fresh};
    if (reads_source(*model)) generator.generate(starts, texts, options);
    else generator.generate(texts, options);
    return StepResult{0, int64_t{setting.batch} * setting.fresh, setting.batch};
  });
}

}  // namespace
}  // namespace engine

int main(int argc, char** argv) {
  engine::Setting setting;
  CLI::App app("Whole steps of the engine, for bench/compare.py");
  app.add_option("--model", setting.model)
      ->check(CLI::IsMember({"gpt2", "neox", "decoder", "lstm256", "lstm512", "bert", "minilm", "encdec", "bart",
                             "rembert", "rembert-classes"}));
  app.add_option("--work", setting.work)->check(CLI::IsMember({"train", "generate", "score", "search", "axe"}));
  app.add_option("--precision", setting.precision)->check(CLI::IsMember({"auto", "f32", "bf16"}));
  app.add_option("--batch", setting.batch);
  app.add_option("--length", setting.length);
  CLI::Option* const lengths =
      app.add_option("--lengths", setting.lengths, "a file of batches, a line each: the lengths of their sequences");
  app.add_option("--rows", setting.rows, "a file of solutions, a line each, whose steps --work axe leaves out");
  app.add_option("--prompt", setting.prompt, "tokens of a prompt, or of a source");
  app.add_option("--new", setting.fresh);
  app.add_option("--thoughts", setting.thoughts)->check(CLI::NonNegativeNumber);
  app.add_option("--recurrence", setting.recurrence)->check(CLI::IsMember({"none", "exact", "passes"}));
  app.add_option("--unroll", setting.unroll, "passes of --recurrence passes")->check(CLI::PositiveNumber);
  app.add_option("--vocabulary", setting.vocabulary, "tokens, instead of the model's own number")
      ->check(CLI::PositiveNumber);
  app.add_option("--passes", setting.passes, "trials of --work search in a row")->check(CLI::PositiveNumber);
  app.add_option("--threads", setting.threads);
  app.add_option("--device", setting.device)->check(CLI::IsMember({"cpu", "cuda"}));
  app.add_option("--attention", setting.options.attention, "own or cudnn");
  app.add_option("--matmul", setting.options.matmul, "auto, own or cublaslt");
  CLI::Option* const times =
      app.add_option("--times", setting.times, "times each operation of so many training steps instead")
          ->check(CLI::PositiveNumber)
          ->excludes(lengths);
  app.add_flag("--clip", setting.clip, "training steps take the gradient's norm and clip it at 1");
  app.add_flag("--operations", setting.operations, "lists what one training step computes and moves instead")
      ->excludes(times);
  app.add_flag("--every_operation", setting.every_operation,
               "lists what each operation computes and moves at a usual shape instead")
      ->excludes(times);
  CLI::Option* const schedule =
      app.add_flag("--schedule", setting.schedule, "lists a training step of one of several ranks on GPUs instead")
          ->excludes(times);
  app.add_option("--ranks", setting.ranks, "of --schedule")->check(CLI::PositiveNumber)->needs(schedule);
  app.add_flag("--shard_optimizer", setting.shard_optimizer, "as training.shard_optimizer, with --schedule")
      ->needs(schedule);
  CLI11_PARSE(app, argc, argv);
  try {
    engine::run(setting);
  } catch (const engine::Error& error) {
    std::cerr << "whole_steps: " << error.what() << "\n";
    return 1;
  }
}
