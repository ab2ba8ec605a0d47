// These options of the training reach the loss through LossStep.
#include <doctest/doctest.h>

#include "models/bart.h"
#include "models/architectures.h"
#include "tests/invariance.h"
#include "tests/model_run.h"
#include "tests/training_task.h"

namespace engine::test {

namespace {

struct StepResult {
  double trained_loss = 0, evaluated_loss = 0;  // sums over the scored tokens
  std::vector<double> gradients;
};

StepResult step_with(float label_smoothing) {
  Config config = tiny_config("", "step");
  config.model.dropout = config.model.attention_dropout = 0;
  config.model.initializer_range = 0.5f;  // logits that are not all alike
  config.training.label_smoothing = label_smoothing;
  const ThreadScope threads(1);
  const std::unique_ptr<Ops> ops = make_cpu_ops();
  Arena arena(ops->memory(), size_t{1} << 28);
  Communicator ranks;
  Machine machine{*ops, arena, DType::f32, ranks};
  TinyTask task(config, *ops);
  SequenceBatch batch;
  task.batch_of(0, batch);
  const Tensor totals = arena.make_zeros(DType::f32, {3});
  Pass pass(Run{.ops = *ops, .arena = arena, .compute = DType::f32}, {}, {.is_active = true});
  task.loss().run(pass, batch, 0, batch.sequences(), 1, totals);
  StepResult result;
  result.trained_loss = static_cast<double>(totals.as<float>()[0]);
  for (const Parameter& p : task.parameters().all()) {
    const Tensor& gradient = task.parameters().gradients().read(p);
    result.gradients.insert(result.gradients.end(), gradient.as<float>(), gradient.as<float>() + gradient.count());
  }
  LossStep step(task.model(), label_smoothing);
  result.evaluated_loss = step.evaluate(machine, batch).loss;
  return result;
}

// Makes models whose last layer computes scored rows alone, for a batch whose sequences have many of them, one and
// none.
std::unique_ptr<Model> model_of_scored_rows(Bench& bench, const std::string& architecture) {
  ModelConfig config;
  config.architecture = architecture;
  config.hidden_size = 24, config.num_heads = 3, config.num_layers = 2, config.ffn_size = 40;
  config.vocab_size = 31, config.max_positions = 20;
  config.dropout = config.attention_dropout = 0.3f;
  config.initializer_range = 0.3f;
  if (architecture == "bert") config.head = HeadKind::masked;
  else config.own.get<BartOptions>().relative_positions = "separate";
  auto model = make_model(config);
  model->parameters().allocate(bench.arena.memory(), true);
  model->parameters().initialise(5);
  return model;
}
SequenceBatch partly_scored_batch(bool with_sources) {
  SequenceBatch batch;
  Random random(11, 0);
  for (const auto& [length, scored] : {std::pair{7, 2}, {20, 20}, {3, 0}, {11, 1}, {1, 1}, {16, 5}}) {
    for (int i = 0; i < length; ++i) {
      batch.tokens.push_back(static_cast<int32_t>(random.below(31)));
      batch.targets.labels.push_back(i < scored ? static_cast<int32_t>(random.below(31)) : -100);
    }
    for (int i = 0; with_sources && i < 21 - length; ++i)
      batch.sources.push_back(static_cast<int32_t>(random.below(31)));
    batch.end_sequence();
  }
  return batch;
}

}  // namespace

TEST_CASE("loss step: slices of a batch add up to the whole of it, with dropout") {
  const auto check = [](Bench& bench, const std::string& architecture) {
    CAPTURE(architecture);
    const auto model = model_of_scored_rows(bench, architecture);
    const SequenceBatch batch = partly_scored_batch(reads_source(*model));
    LossStep step(*model);
    const auto gradients = [&](const std::vector<int64_t>& cuts) {
      std::vector<Values> result;  // totals, then each gradient
      const Tensor totals = bench.zeros({3});
      for (size_t i = 0; i + 1 < cuts.size(); ++i) {
        Pass pass(Run{.ops = bench.ops, .arena = bench.arena, .compute = bench.compute}, {},
                  {.is_active = true, .seed = 3, .step = 2});
        step.run(pass, batch, cuts[i], cuts[i + 1], 1, totals);
      }
      result.push_back(bench.values(totals));
      Gradients& all = model->parameters().gradients();
      for (const Parameter& p : model->parameters().all()) result.push_back(bench.values(all.read(p)));
      all.zero();
      return result;
    };
    const std::vector<Values> whole = gradients({0, 6});
    CHECK(whole[0][1] == 29);
    for (const std::vector<int64_t>& cuts : {std::vector<int64_t>{0, 1, 3, 4, 6}, {0, 2, 5, 6}}) {
      const std::vector<Values> parts = gradients(cuts);
      // Each is compared by itself, since the totals would hide every gradient.
      for (size_t i = 0; i < whole.size(); ++i) {
        CAPTURE(i);
        CHECK_CLOSE(parts.at(i), whole[i], 64 * epsilon_of(bench.compute));
      }
    }
  };
  on_every_backend([&](Bench& bench) {
    check(bench, "bert");
    check(bench, "bart");
  });
}

TEST_CASE("loss step: label smoothing shapes the training, and evaluation leaves it out") {
  const StepResult plain = step_with(0), some = step_with(0.1f), more = step_with(0.2f);
  CHECK(some.evaluated_loss == plain.evaluated_loss);
  // The smoothed loss is (1 - s) times the plain one and s times the mean over all tokens. Its gradient is linear in s.
  std::vector<double> step, twice;
  for (size_t i = 0; i < plain.gradients.size(); ++i) {
    step.push_back(2 * (some.gradients[i] - plain.gradients[i]));
    twice.push_back(more.gradients[i] - plain.gradients[i]);
  }
  double largest = 0, change = 0;
  for (const double value : plain.gradients) largest = std::max(largest, std::abs(value));
  for (const double value : twice) change = std::max(change, std::abs(value));
  CHECK(change > 0.01 * largest);
  // Each gradient is a sum over fewer than 128 tokens and 27 logits in f32.
  for (size_t i = 0; i < step.size(); ++i)
    CHECK(std::abs(step[i] - twice[i]) <= 4 * (128 + 27) * epsilon_of(DType::f32) * largest);
}

}  // namespace engine::test
