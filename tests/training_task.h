// This task is as small as can be. A GPT-2 of a few thousand parameters learns the characters of one fixed text, in
// sequences of unequal lengths. Tests of the trainer hook into it.
#pragma once

#include <cstdio>
#include <functional>

#include "core/files.h"
#include "core/parallel.h"
#include "kernels/backend/backend.h"
#include "models/architectures.h"
#include "tests/machine.h"
#include "tests/quick_place.h"
#include "training/loss_step.h"
#include "training/trainer.h"

namespace engine::test {

class TinyTask final : public Task {
 public:
  TinyTask(const Config& config, Ops& ops)
      : config_(config),
        memory_(ops.memory()),
        model_(make_model(config.model)),
        step_(*model_, config.training.label_smoothing) {
    model_->parameters().allocate(ops.memory(), true);
    model_->parameters().initialise(config.seed);
  }

  std::string data = "one fixed text";
  std::function<void(int64_t step)> before_step;  // step counts from 0
  std::function<void(int64_t step, SequenceBatch&)> change_batch;
  bool follows = false;              // every step waits for the losses before it
  std::function<Metrics()> measure;  // in place of the loss on the evaluation data

  Parameters& parameters() override { return model_->parameters(); }
  int64_t epoch_steps = 0;           // 0: no epochs
  std::function<double()> seconds;   // a clock in place of the machine's
  int64_t steps_per_epoch() const override { return epoch_steps; }
  bool follows_losses() const override { return follows; }
  int64_t last_step = -1;  // of the last batch
  void batch_of(int64_t step, SequenceBatch& batch) override {
    last_step = step;
    if (before_step) before_step(step);
    Random random(config_.seed, static_cast<uint64_t>(1000 + step));
    fill(batch, random, config_.training.batch_size);
    if (change_batch) change_batch(step, batch);
  }
  BatchLoss& loss() override { return step_; }
  Metrics evaluate(Machine& machine, std::string& samples) override {
    samples = "a sample\n";
    if (measure) return measure();
    Random random(config_.seed, 7);
    SequenceBatch batch;
    fill(batch, random, 16);
    const LossTotals totals = step_.evaluate(machine, batch);
    return {{"loss", totals.loss / totals.scored}, {"accuracy", totals.correct / totals.scored}};
  }
  std::pair<std::string, bool> best_metric() const override { return {"loss", false}; }
  std::string fingerprint() const override { return data; }
  std::vector<std::string> metric_names() const override { return {"loss", "accuracy"}; }
  void save_model(const std::filesystem::path& folder) override {
    const std::vector<float> all = values();
    write_file(folder / "parameters.bin", {reinterpret_cast<const char*>(all.data()), all.size() * sizeof(float)});
  }

  std::vector<float> values() {
    std::vector<float> all;
    for (const Parameter& p : parameters().all()) {
      all.resize(all.size() + static_cast<size_t>(p.value.count()));
      memory_.copy_out(&*(all.end() - p.value.count()), p.value.data, p.value.bytes());
    }
    return all;
  }
  Model& model() { return *model_; }

 private:
  // Characters are 0 ... 26, the space and the letters. The first of a sequence are not always scored.
  static void fill(SequenceBatch& batch, Random& random, int64_t sequences) {
    static const std::string text =
        "the rain in spain stays mainly in the plain and "
        "the brown fox jumps over the lazy dog while the cat sleeps on a mat ";
    const auto token = [](char c) { return c == ' ' ? 0 : c - 'a' + 1; };
    batch.clear();
    for (int64_t s = 0; s < sequences; ++s) {
      const uint32_t length = 4 + random.below(13), begin = random.below(static_cast<uint32_t>(text.size()) - length);
      for (uint32_t i = begin; i < begin + length; ++i) {
        batch.tokens.push_back(token(text[i]));
        batch.targets.labels.push_back(s % 3 == 0 && i < begin + 2 ? -100 : token(text[i + 1]));
      }
      batch.end_sequence();
    }
  }

  const Config config_;
  Memory& memory_;
  std::unique_ptr<Model> model_;
  LossStep step_;
};

inline Config tiny_config(const std::filesystem::path& folder, const std::string& name) {
  Config config;
  config.task = "tiny";
  config.name = name;
  config.output_dir = folder.string();
  config.threads = 1;
  config.model.hidden_size = 32;
  config.model.num_layers = 2;
  config.model.num_heads = 2;
  config.model.vocab_size = 27;
  config.model.max_positions = 20;
  config.model.dropout = config.model.attention_dropout = 0.1f;
  config.training.batch_size = 8;
  config.training.max_steps = 12;
  config.training.learning_rate = 3e-3f;
  config.training.warmup_steps = 3;
  config.training.weight_decay = 0.01f;
  config.training.eval_every = config.training.save_every = 0;
  config.training.log_every = 4;
  return config;
}

// Sets the number of threads inside the scope, and all of them after it.
struct ThreadScope {
  explicit ThreadScope(int threads) { set_threads(threads); }
  ~ThreadScope() { set_threads(0); }
};

struct Outcome {
  int exit_code = -1;
  TrainingResult result;
  std::vector<float> values;  // all parameters
  std::string printed;
};

// Trains a TinyTask to the end of this run. `prepare` sets its hooks.
inline Outcome train_tiny(Config config, const std::function<void(TinyTask&)>& prepare = {},
                          DType compute = DType::f32, const std::string& device = "cpu") {
  Options options;
  config.declare(options);
  const ThreadScope threads(config.threads);
  OwnMachine own(compute, size_t{1} << 30, device);
  TinyTask task(config, *own.ops);
  if (prepare) prepare(task);
  if (task.seconds) own.machine.seconds = task.seconds;
  char* text = nullptr;
  size_t size = 0;
  std::FILE* out = open_memstream(&text, &size);
  Outcome outcome;
  try {
    outcome.result = train_task(config, options, task, own.machine, out);
    outcome.exit_code = outcome.result.exit_code();
  } catch (...) {
    std::fclose(out);
    std::free(text);
    throw;
  }
  std::fclose(out);
  outcome.printed.assign(text, size);
  std::free(text);
  outcome.values = task.values();
  return outcome;
}

}  // namespace engine::test
