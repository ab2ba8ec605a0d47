// These options of the training reach the loss through LossStep.
#include <doctest/doctest.h>

#include "models/bart.h"
#include "models/architectures.h"
#include "tests/invariance.h"
#include "tests/model_run.h"
#include "tests/training_task.h"

namespace engine::test::test_loss_step {

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
  OwnMachine own(DType::f32, size_t{1} << 28);
  TinyTask task(config, *own.ops);
  SequenceBatch batch;
  task.batch_of(0, batch);
  const Tensor totals = own.arena.make_zeros(DType::f32, {3});
  Pass pass(Run{.ops = *own.ops, .arena = own.arena, .compute = DType::f32}, {}, {.is_active = true});
  task.loss().run(pass, batch, 0, batch.sequences(), 1, totals);
  StepResult result;
  result.trained_loss = static_cast<double>(totals.as<float>()[0]);
  for (const Parameter& p : task.parameters().all()) {
    const Tensor& gradient = task.parameters().gradients().read(p);
    result.gradients.insert(result.gradients.end(), gradient.as<float>(), gradient.as<float>() + gradient.count());
  }
  LossStep step(task.model(), label_smoothing);
  result.evaluated_loss = step.evaluate(own.machine, batch).loss;
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

TEST_CASE("loss step: weights scale each row's loss, and a weight of 0 is as good as no label") {
  on_every_backend([](Bench& bench) {
    const auto model = model_of_scored_rows(bench, "bert");
    const SequenceBatch plain = partly_scored_batch(false);
    LossStep step(*model);
    struct Result {
      Values totals;
      std::vector<Values> gradients;
    };
    const auto run = [&](const SequenceBatch& batch) {
      Result result;
      const Tensor totals = bench.zeros({3});
      Pass pass(Run{.ops = bench.ops, .arena = bench.arena, .compute = bench.compute});
      step.run(pass, batch, 0, batch.sequences(), 1 / static_cast<float>(batch.weight()), totals);
      result.totals = bench.values(totals);
      Gradients& all = model->parameters().gradients();
      for (const Parameter& p : model->parameters().all()) result.gradients.push_back(bench.values(all.read(p)));
      all.zero();
      return result;
    };
    const auto check_gradients = [&](const Result& a, const Result& b) {
      for (size_t i = 0; i < a.gradients.size(); ++i) {
        CAPTURE(i);
        CHECK_CLOSE(a.gradients[i], b.gradients[i], 64 * epsilon_of(bench.compute));
      }
    };
    SequenceBatch doubled = plain, some = plain, others = plain;
    doubled.targets.weights.assign(plain.tokens.size(), 2);
    const Result one = run(plain), two = run(doubled);
    CHECK_CLOSE(two.totals, (Values{2 * one.totals[0], 2 * one.totals[1], one.totals[2]}),
                64 * epsilon_of(bench.compute));
    check_gradients(two, one);
    for (size_t i = 0; i < plain.tokens.size(); ++i) {
      some.targets.weights.push_back(i % 2 ? 1.0f : 0.0f);
      if (i % 2 == 0) others.targets.labels[i] = -100;
    }
    const Result weighed = run(some), labelled = run(others);
    CHECK(weighed.totals[1] == labelled.totals[1]);
    CHECK_CLOSE(Values{weighed.totals[0]}, Values{labelled.totals[0]}, 64 * epsilon_of(bench.compute));
    check_gradients(weighed, labelled);
  });
}

TEST_CASE("loss step: the key of a captured step differs where any tensor of the step does") {
  const std::unique_ptr<Ops> ops = make_cpu_ops();
  Arena arena(ops->memory(), size_t{1} << 28);
  Bench bench{*ops, arena, DType::f32};
  const auto model = model_of_scored_rows(bench, "bert");
  BatchUpload upload;
  const auto key_of = [&](const SequenceBatch& batch, int64_t last = 6) {
    const ArenaScope scope(arena);
    upload.send(arena, *model, batch, 0, last);
    return upload.key();
  };
  const SequenceBatch batch = partly_scored_batch(false);
  const uint64_t key = key_of(batch);
  SequenceBatch other = batch;
  other.tokens[3] = 7;
  other.targets.labels[0] = 3;
  CHECK(key_of(other) == key);  // other numbers in the same places
  other.targets.labels[1] = -100;
  CHECK(key_of(other) != key);
  CHECK(key_of(batch, 5) != key);
  other = batch;
  other.types.assign(batch.tokens.size(), 0);
  CHECK(key_of(other) != key);
  other = batch;
  other.targets.weights.assign(batch.tokens.size(), 1);
  CHECK(key_of(other) != key);
  // Sequences of other lengths, as many tokens and as many of them scored.
  other = batch;
  other.offsets[1] += 12;
  CHECK(key_of(other) != key);
  {
    const ArenaScope scope(arena);
    bench.zeros({1});
    CHECK(key_of(batch) != key);  // all addresses are others
  }

  // A field that is added to what a step reads changes the key by itself.
  const auto key_with = [&](int fields) {
    const ArenaScope scope(arena);
    Upload fresh;
    for (int i = 0; i < fields; ++i) fresh.list(8);
    fresh.send(arena);
    return fresh.key();
  };
  CHECK(key_with(3) == key_with(3));
  CHECK(key_with(4) != key_with(3));
}

}  // namespace engine::test::test_loss_step
