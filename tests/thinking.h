// A small decoder with thought states, and rows with thoughts.
#pragma once

#include "models/architectures.h"
#include "tests/model_checks.h"
#include "training/loss_step.h"
#include "training/thought_runner.h"

namespace engine::test {

inline constexpr int32_t thought = 12;

struct Thinking {
  Bench& bench;
  std::unique_ptr<Model> model;
  SequenceBatch batch;
  Communicator alone;

  explicit Thinking(Bench& on, bool norm = true, bool drops = false, const std::string& architecture = "gpt2")
      : bench(on) {
    ModelConfig config = open_model();
    config.architecture = architecture;
    // Rotary positions need an even part of each head.
    config.hidden_size = architecture == "gpt2" ? 12 : 24;
    config.num_layers = 3, config.num_heads = 3, config.vocab_size = 13;
    config.max_positions = 12, config.initializer_range = 0.2f;
    if (drops) config.dropout = 0.2f, config.attention_dropout = 0.1f;
    config.thought_states = true, config.thought_norm = norm, config.thought_token = thought;
    model = make_model(config);
    model->parameters().allocate(bench.arena.memory(), true);
    model->parameters().initialise(3);
    // Thoughts at a row's beginning and end, side by side, and none; a row of a single token.
    for (const std::vector<int32_t>& row : std::vector<std::vector<int32_t>>{
             {1, 2, thought, 3, 4, thought, thought, 5, 6}, {7, 8, 9}, {thought, 1, thought}, {4},
             {2, thought, 11, 10, thought, 3}}) {
      for (const int32_t token : row) {
        batch.tokens.push_back(token);
        batch.targets.labels.push_back(token == thought ? 5 : token % 3 ? (token + 1) % 12 : -100);
      }
      batch.end_sequence();
    }
  }
  std::vector<double> losses(std::unique_ptr<BatchRunner> runner) {
    LossStep step(*model, std::make_unique<CrossEntropyObjective>(*model), std::move(runner));
    Machine machine{bench.ops, bench.arena, bench.compute, alone};
    ScoredTokens each{.wants_losses = true};
    step.evaluate(machine, batch, &each);
    return {each.losses.begin(), each.losses.end()};
  }
  std::vector<double> losses(const ThoughtRunning& running) { return losses(make_thought_runner(*model, running)); }

  // Returns the gradients by name. Slices have so many sequences.
  std::map<std::string, std::vector<double>> gradients(std::unique_ptr<BatchRunner> runner, bool training = false,
                                                       bool recompute = false, int64_t slice = 5) {
    model->parameters().gradients().zero();
    add_gradients(std::move(runner), training, recompute, slice);
    return gradients_by_name(ModelRun{bench, *model});
  }
  std::map<std::string, std::vector<double>> gradients(const ThoughtRunning& running) {
    return gradients(make_thought_runner(*model, running));
  }
  void add_gradients(std::unique_ptr<BatchRunner> runner, bool training, bool recompute, int64_t slice) {
    LossStep step(*model, std::make_unique<CrossEntropyObjective>(*model), std::move(runner));
    const ArenaScope scope(bench.arena);
    const Tensor totals = bench.zeros({3});
    for (int64_t first = 0; first < batch.sequences(); first += slice) {
      Pass pass(Run{.ops = bench.ops, .arena = bench.arena, .compute = bench.compute, .recompute = recompute}, {},
                {.is_active = training, .seed = 5, .step = 3});
      step.run(pass, batch, first, std::min(first + slice, batch.sequences()), 1, totals);
    }
    bench.finish();
  }
};

}  // namespace engine::test
