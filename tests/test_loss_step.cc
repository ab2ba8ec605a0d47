// Options of the training that reach the loss through LossStep.
#include <doctest/doctest.h>

#include "tests/operation.h"
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
  Machine machine{*ops, arena, DType::f32};
  TinyTask task(config, *ops);
  SequenceBatch batch;
  task.batch_of(0, batch);
  const Tensor totals = arena.make_zeros(DType::f32, {3});
  Pass pass{.ops = *ops, .arena = arena, .compute = DType::f32, .training = true};
  task.run(pass, batch, 0, batch.sequences(), 1, totals);
  StepResult result;
  result.trained_loss = static_cast<double>(totals.as<float>()[0]);
  for (const Parameter& p : task.parameters().all())
    result.gradients.insert(result.gradients.end(), p.gradient.as<float>(),
                            p.gradient.as<float>() + p.gradient.count());
  LossStep step(task.model(), label_smoothing);
  result.evaluated_loss = step.evaluate(machine, batch).loss;
  return result;
}

}  // namespace

TEST_CASE("loss step: label smoothing shapes the training, and evaluation leaves it out") {
  const StepResult plain = step_with(0), some = step_with(0.1f), more = step_with(0.2f);
  CHECK(some.evaluated_loss == plain.evaluated_loss);
  // The smoothed loss is (1 - s) times the plain one and s times the mean over all tokens: its gradient is linear in s.
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
