// Taps of the residual stream add to it at a boundary, and receive its gradient there.
#include <map>

#include "models/architectures.h"
#include "models/positions.h"
#include "tests/model_checks.h"

namespace engine::test::test_stream_tap {

namespace {

// Adds fixed numbers to the stream at some boundaries, and keeps the gradient there.
class AddingTap final : public StreamTap {
 public:
  Bench& bench;
  std::map<int64_t, std::vector<float>> added;  // at each boundary, the size of the stream
  std::map<int64_t, std::vector<double>> gradients, seen;

  explicit AddingTap(Bench& on) : bench(on) {}
  bool is_at(int64_t boundary) const override { return added.contains(boundary); }
  void forward(Pass& pass, int64_t boundary, const Tensor& x) override {
    seen[boundary] = bench.values(x);
    const ArenaScope scope(pass.arena);
    std::vector<float>& numbers = added.at(boundary);
    numbers.resize(static_cast<size_t>(x.count()), 0);
    const Tensor on_device = pass.arena.make(DType::f32, x.shape);
    pass.arena.memory().copy_in(on_device.data, numbers.data(), on_device.bytes());
    pass.ops.dropout({.x = on_device, .residual = x, .y = x});
  }
  void backward(Pass&, int64_t boundary, const Tensor& dx) override { gradients[boundary] = bench.values(dx); }
};

std::unique_ptr<Model> model_of(Bench& bench, const std::string& architecture) {
  ModelConfig config = open_model();
  config.architecture = architecture;
  config.hidden_size = 12, config.num_layers = 3, config.num_heads = 3, config.vocab_size = 13;
  config.max_positions = 8, config.dropout = 0.2f, config.attention_dropout = 0.1f, config.initializer_range = 0.3f;
  if (architecture == "gpt_neox") config.own.get<RotaryOptions>().share = 1;
  if (architecture_of(config).kind == ModelKind::encoder) config.head = HeadKind::masked;
  auto model = make_model(config);
  model->parameters().allocate(bench.arena.memory(), true);
  model->parameters().initialise(3);
  return model;
}

Batch batch_of(const Model& model) {
  Batch batch{.tokens = {1, 2, 3, 4, 5, 6, 7}, .offsets = {0, 3, 7}, .labels = {1, -100, 0, -100, 7, 2, -100}};
  if (reads_source(model)) batch.sources = {6, 7, 8}, batch.source_offsets = {0, 1, 3};
  return batch;
}

const std::vector<std::string> kinds{"gpt2", "gpt_neox", "bert", "sinusoidal_encoder", "bart"};

}  // namespace

TEST_CASE("stream tap: one that adds nothing changes no loss and no gradient but by rounding") {
  on_every_backend([](Bench& bench) {
    for (const std::string& architecture : kinds) {
      CAPTURE(architecture);
      const auto model = model_of(bench, architecture);
      const ModelRun run{bench, *model};
      const Batch batch = batch_of(*model);
      for (const bool recompute : {false, true}) {
        run.zero_gradients();
        const std::vector<double> losses = run.losses(batch, {.recompute = recompute, .training = true});
        const auto gradients = gradients_by_name(run);
        for (const int64_t boundary : {0, 1, 3}) {
          CAPTURE(boundary);
          AddingTap tap(bench);
          tap.added[boundary];
          run.zero_gradients();
          const RunOptions options{.recompute = recompute, .training = true, .tap = &tap};
          CHECK_CLOSE(run.losses(batch, options), losses, 16 * epsilon_of(bench.compute));
          for (const auto& [name, gradient] : gradients_by_name(run)) {
            CAPTURE(name);
            CHECK_CLOSE(gradient, gradients.at(name), 64 * epsilon_of(bench.compute));
          }
          CHECK(!tap.seen[boundary].empty());
          CHECK(tap.gradients[boundary].size() == tap.seen[boundary].size());
        }
      }
    }
  });
}

TEST_CASE("stream tap: the gradient at a boundary is the derivative of the loss by what is added there") {
  const std::unique_ptr<Ops> ops = make_cpu_ops();
  Arena arena(ops->memory(), size_t{1} << 28);
  Bench bench{*ops, arena, DType::f32};
  for (const std::string& architecture : kinds) {
    CAPTURE(architecture);
    const auto model = model_of(bench, architecture);
    const ModelRun run{bench, *model};
    const Batch batch = batch_of(*model);
    for (const bool recompute : {false, true}) {
      AddingTap tap(bench);
      for (const int64_t boundary : {0, 1, 2, 3}) tap.added[boundary];
      const RunOptions options{.recompute = recompute, .training = true, .tap = &tap};
      const auto loss = [&](const RunOptions& how) {
        double sum = 0;
        for (const double one : run.losses(batch, how)) sum += one;
        return sum;
      };
      loss(options);
      const auto gradients = tap.gradients;
      REQUIRE(gradients.size() == 4);
      Random random(5, 0);
      for (auto& [boundary, added] : tap.added) {
        CAPTURE(boundary);
        // The direction covers all elements, with small steps both ways.
        std::vector<float> direction(added.size());
        for (float& one : direction) one = random.normal();
        double slope = 0, size = 0;
        for (size_t i = 0; i < direction.size(); ++i) {
          const double part = gradients.at(boundary)[i] * static_cast<double>(direction[i]);
          slope += part;
          size += std::abs(part);
        }
        const auto at = [&](float step) {
          for (size_t i = 0; i < added.size(); ++i) added[i] = step * direction[i];
          RunOptions forward_alone = options;
          forward_alone.gradients = false;
          return loss(forward_alone);
        };
        const float step = 0.004f;
        const double fine = (at(step) - at(-step)) / (2 * static_cast<double>(step));
        const double coarse = (at(2 * step) - at(-2 * step)) / (4 * static_cast<double>(step));
        std::fill(added.begin(), added.end(), 0.0f);
        const double allowed = 0.5 * std::abs(fine - coarse) + 8 * epsilon_of(DType::f32) * 10 / 0.004;
        CHECK(std::abs((4 * fine - coarse) / 3 - slope) <= allowed);
        CHECK(allowed <= 0.05 * size);
      }
    }
  }
}

}  // namespace engine::test::test_stream_tap
