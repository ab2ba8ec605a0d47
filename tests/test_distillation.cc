#include "training/distillation.h"

#include <doctest/doctest.h>

#include "kernels/losses/cosine_loss_ref.h"
#include "kernels/losses/segment_soft_cross_entropy_ref.h"
#include "kernels/losses/soft_cross_entropy_ref.h"
#include "models/span_objective.h"
#include "tests/invariance.h"
#include "tests/task_settings.h"

namespace engine::test::test_distillation {

namespace {

ModelConfig config_of(HeadKind head, int64_t layers = 2) {
  ModelConfig config;
  config.architecture = "bert";
  config.hidden_size = 16;
  config.num_layers = layers;
  config.num_heads = 2;
  config.ffn_size = 24;
  config.vocab_size = 37;
  config.max_positions = 16;
  config.initializer_range = 0.3f;  // logits that are not all alike
  config.head = head;
  if (head == HeadKind::classification) config.labels = {"no", "maybe", "yes"};
  return config;
}

std::unique_ptr<Model> model_of(Ops& ops, const ModelConfig& config, uint64_t seed) {
  auto model = make_model(config);
  model->parameters().allocate(ops.memory(), true);
  model->parameters().initialise(seed);
  return model;
}

const HeadKind every_head[] = {HeadKind::masked, HeadKind::classification, HeadKind::question_answering};

std::unique_ptr<ScoreObjective> objective_of(const Model& model) {
  if (model.config().head == HeadKind::question_answering) return std::make_unique<SpanObjective>(model);
  return std::make_unique<CrossEntropyObjective>(model);
}

// Makes ragged sequences. A third of the tokens is scored, or the first of each sequence with a class or a span.
SequenceBatch batch_of(HeadKind head) {
  SequenceBatch batch;
  Random random(3, 3);
  for (const int length : {7, 1, 12, 5}) {
    for (int i = 0; i < length; ++i) {
      batch.tokens.push_back(static_cast<int32_t>(random.below(37)));
      const auto label = static_cast<int32_t>(random.below(head == HeadKind::masked ? 37 : 3));
      batch.targets.labels.push_back((head == HeadKind::masked ? i % 3 == 0 : i == 0) ? label : -100);
      for (int column = 0; head == HeadKind::question_answering && column < 2; ++column)
        batch.targets.spans.push_back(random.uniform());
    }
    batch.end_sequence();
  }
  return batch;
}

Communicator pupil_ranks;  // a single rank

// Holds a student, its teacher and what they run on.
struct Pupil {
  Bench& bench;
  HeadKind head;
  std::unique_ptr<Model> student, teacher_copy;
  Distillation* distillation;
  LossStep step;
  SequenceBatch batch = batch_of(head);

  Pupil(Bench& on, HeadKind of, const DistillationConfig& config, uint64_t student_seed = 1, uint64_t teacher_seed = 2)
      : bench(on), head(of), student(model_of(on.ops, config_of(of), student_seed)),
        teacher_copy(model_of(on.ops, config_of(of), teacher_seed)),
        distillation(new Distillation(config, *student, model_of(on.ops, config_of(of), teacher_seed),
                                      objective_of(*student))),
        step(*student, std::unique_ptr<Objective>(distillation)) {}

  // Returns the totals, and adds to the gradients.
  std::vector<double> run(int64_t first, int64_t last) {
    const ArenaScope scope(bench.arena);
    const Tensor totals = bench.zeros({3});
    Pass pass(Run{.ops = bench.ops, .arena = bench.arena, .compute = bench.compute});
    step.run(pass, batch, first, last, 1.0f / static_cast<float>(batch.scored()), totals);
    return bench.values(totals);
  }
  std::vector<double> gradients() {
    std::vector<double> all;
    Gradients& gradients = student->parameters().gradients();
    for (const Parameter& p : student->parameters().all()) append(all, bench.values(gradients.read(p)));
    gradients.zero();
    return all;
  }
  struct Seen {
    std::vector<double> logits, hidden;  // of the scored rows, and of all tokens
  };
  Seen see(Model& model) {
    const ArenaScope scope(bench.arena);
    BatchUpload upload;
    const DeviceBatch all = upload.send(bench.arena, model, batch, 0, batch.sequences());
    Pass pass(Run{.ops = bench.ops, .arena = bench.arena, .compute = bench.compute, .keep = false}, all.layout);
    const auto saved = model.make_saved();
    const OutputRows scored = head == HeadKind::question_answering ? OutputRows{} : all.outputs;
    const Tensor logits = model_logits(pass, model, all.tokens, scored.index, *saved);
    return {bench.values(logits), bench.values(model.hidden_states(pass, all.tokens, *saved))};
  }
  // Returns soft and cosine loss of both models' outputs, in double.
  std::pair<double, double> expected(double temperature) {
    const Seen mine = see(*student), theirs = see(*teacher_copy);
    reference::CosineLoss<double> cosine;
    cosine.rows = batch.tokens.size();
    cosine.cols = 16;
    cosine.x = mine.hidden;
    cosine.y = theirs.hidden;
    cosine.run();
    return {soft_loss(mine.logits, theirs.logits, temperature), cosine.loss / static_cast<double>(cosine.rows)};
  }
  // Returns the mean over scored rows, or over windows and their two columns.
  double soft_loss(const std::vector<double>& mine, const std::vector<double>& theirs, double temperature) const {
    const auto scored = static_cast<size_t>(batch.scored());
    if (head == HeadKind::question_answering) {
      reference::SegmentSoftCrossEntropy<double> soft;
      soft.cols = 2, soft.logits = mine, soft.targets = theirs, soft.temperature = temperature;
      soft.begin.assign(batch.offsets.begin(), batch.offsets.end() - 1);
      soft.end.assign(batch.offsets.begin() + 1, batch.offsets.end());
      soft.dlogits.assign(mine.size(), 0);
      soft.run();
      return soft.loss / static_cast<double>(2 * scored);
    }
    reference::SoftCrossEntropy<double> soft;
    soft.rows = scored;
    soft.vocabulary = mine.size() / scored;
    soft.logits = mine;
    soft.targets = theirs;
    soft.temperature = temperature;
    soft.run();
    return soft.loss / static_cast<double>(scored);
  }
};

}  // namespace

TEST_CASE("distillation: the losses are those of the two models' logits and hidden states") {
  on_every_backend([](Bench& bench) {
    for (const HeadKind head : every_head) {
      Pupil pupil(bench, head, {.temperature = 3});
      pupil.run(0, 4);
      const Metrics metrics = pupil.distillation->log(pupil_ranks);
      const auto [soft, cosine] = pupil.expected(3);
      // In bf16 the models round in other places where a backward pass follows.
      const double allowed = bench.compute == DType::bf16 ? 8 * epsilon_of(DType::bf16) : 64 * epsilon_of(DType::f32);
      CHECK(soft > 0.1);
      CHECK(cosine > 0.1);
      // A soft loss errs by some roundings of the logits, however small it is.
      CHECK(std::abs(metric(metrics, "soft_loss") - soft) <= allowed * std::max(1.0, soft));
      CHECK(std::abs(metric(metrics, "cosine_loss") - cosine) <= allowed * cosine);
      CHECK(pupil.distillation->log(pupil_ranks).empty());
    }
  });
}

TEST_CASE("distillation: gradients are the derivatives of the weighted sum of the three losses") {
  const std::unique_ptr<Ops> ops = make_cpu_ops();
  Arena arena(ops->memory(), size_t{1} << 30);
  Bench bench{*ops, arena, DType::f32};
  for (const HeadKind head : every_head) {
    Pupil pupil(bench, head, {.temperature = 2, .hard_weight = 0.5f, .soft_weight = 2, .cosine_weight = 3});
    const auto objective = [&] {
      const double hard = pupil.run(0, 4)[0] / static_cast<double>(pupil.batch.scored());
      const Metrics metrics = pupil.distillation->log(pupil_ranks);
      return 0.5 * hard + 2 * metric(metrics, "soft_loss") + 3 * metric(metrics, "cosine_loss");
    };
    const double size = objective();
    const std::vector<double> gradient = pupil.gradients();
    size_t first = 0;
    for (const Parameter& p : pupil.student->parameters().all()) {
      CAPTURE(p.name);
      const std::vector<double> values = bench.values(p.value);
      std::vector<double> direction;
      double slope = 0;
      for (size_t i = 0; i < values.size(); ++i) {
        direction.push_back(static_cast<double>(bench.random.normal()) / std::sqrt(static_cast<double>(values.size())));
        slope += direction[i] * gradient[first + i];
      }
      first += values.size();
      const auto difference = [&](double by) {
        double ends[2], signs[2] = {1, -1};
        for (int end = 0; end < 2; ++end) {
          std::vector<double> moved = values;
          for (size_t i = 0; i < moved.size(); ++i) moved[i] += signs[end] * by * direction[i];
          bench.fill(p.value, moved);
          ends[end] = objective();
        }
        return (ends[0] - ends[1]) / (2 * by);
      };
      const double fine = difference(0.02), coarse = difference(0.04);
      bench.fill(p.value, values);
      pupil.gradients();
      // As in check_derivatives, the error of order by^2 cancels, and rounding moves a loss by some units.
      const double allowed = 0.5 * std::abs(fine - coarse) + 16 * epsilon_of(DType::f32) * size / 0.02;
      INFO("slope ", slope, ", by differences ", (4 * fine - coarse) / 3, ", allowed ", allowed);
      CHECK(std::abs((4 * fine - coarse) / 3 - slope) <= allowed);
    }
  }
}

TEST_CASE("distillation: a student that is its teacher has soft and cosine loss 0, and the gradient of its labels") {
  on_every_backend([](Bench& bench) {
    for (const HeadKind head : every_head) {
      Pupil same(bench, head, {.hard_weight = 1, .soft_weight = 1}, 7, 7);
      const std::vector<double> totals = same.run(0, 4), gradients = same.gradients();
      const Metrics metrics = same.distillation->log(pupil_ranks);
      CHECK(std::abs(metric(metrics, "soft_loss")) <= 16 * epsilon_of(bench.compute));
      CHECK(std::abs(metric(metrics, "cosine_loss")) <= 16 * epsilon_of(bench.compute) * epsilon_of(bench.compute) +
                                                           16 * epsilon_of(DType::f32));
      Pupil alone(bench, head, {.hard_weight = 1, .soft_weight = 0, .cosine_weight = 0}, 7, 8);
      // Without a cosine loss the student computes its scored rows alone, which adds sums in another order.
      CHECK_CLOSE(alone.run(0, 4), totals, 16 * epsilon_of(bench.compute));
      CHECK(alone.distillation->log(pupil_ranks).empty());
      CHECK_CLOSE(gradients, alone.gradients(), 16 * epsilon_of(bench.compute));
    }
  });
}

TEST_CASE("distillation: micro-batches add up, and the sums go through text") {
  on_every_backend([](Bench& bench) {
    const DistillationConfig config{.temperature = 2};
    Pupil whole(bench, HeadKind::masked, config), parts(bench, HeadKind::masked, config);
    Pupil resumed(bench, HeadKind::masked, config);
    const std::vector<double> totals = whole.run(0, 4), gradients = whole.gradients();
    std::vector<double> sums = parts.run(0, 1);
    resumed.distillation->set_state(parts.distillation->state(pupil_ranks), pupil_ranks);
    const std::vector<double> rest = parts.run(1, 4), of_parts = parts.gradients();
    resumed.run(1, 4);
    for (size_t i = 0; i < 3; ++i) sums[i] += rest[i];
    const double allowed = 16 * epsilon_of(bench.compute);
    CHECK_CLOSE(sums, totals, allowed);
    CHECK_CLOSE(of_parts, gradients, allowed);
    const Metrics all = whole.distillation->log(pupil_ranks), added = parts.distillation->log(pupil_ranks);
    for (const char* name : {"soft_loss", "cosine_loss"})
      CHECK(std::abs(metric(added, name) - metric(all, name)) <= allowed * metric(all, name));
    CHECK(resumed.distillation->log(pupil_ranks) == added);
  });
}

}  // namespace engine::test::test_distillation
