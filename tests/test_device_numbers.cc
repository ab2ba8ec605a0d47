// Numbers that change from step to step can be read on the device, so that a captured step is launched again.
#include "kernels/optimizer/optimizer.h"
#include "tests/operation.h"

namespace engine::test::test_device_numbers {

namespace {

constexpr int64_t first_row = (int64_t{1} << 33) + 5;

// Returns a dropout that a device reads on the device, the same as by_value() there.
Dropout by_counters(Bench& bench) {
  return {.rate = 0.3f, .seed = 7, .site = 3, .step = 11, .first_row = first_row,
          .counters = bench.integers({3}, {11, 5, 2})};
}
Dropout by_value() { return {.rate = 0.3f, .seed = 7, .site = 3, .step = 11, .first_row = first_row}; }

}  // namespace

TEST_CASE("numbers on the device: dropout drops the same elements by counters there") {
  on_every_backend([](Bench& bench) {
    const Tensor x = bench.normal(DType::f32, {5, 12}), y = bench.unset(DType::f32, {5, 12});
    const auto dropped = [&](const Dropout& how) {
      bench.ops.dropout({.x = x, .y = y, .dropout = how});
      return bench.values(y);
    };
    const std::vector<double> expected = dropped(by_value());
    CHECK(dropped(by_counters(bench)) == expected);
    // A device reads them where they are.
    Dropout other = by_counters(bench);
    other.step = 12;
    if (bench.is_device) CHECK(dropped(other) == expected);
    else CHECK(dropped(other) != expected);
  });
}

TEST_CASE("numbers on the device: attention drops the same weights by counters there") {
  on_every_backend([](Bench& bench) {
    constexpr int rows = 20, width = 32;
    const Tensor q = bench.normal(bench.compute, {rows, width}), k = bench.normal(bench.compute, {rows, width}),
                 v = bench.normal(bench.compute, {rows, width}), y = bench.unset(bench.compute, {rows, width});
    const Segments segments = Segments::packed(bench.integers({3}, {0, 3, rows}), rows - 3);
    const auto result = [&](const Dropout& how) {
      bench.ops.attention_forward({.q = q, .k = k, .v = v, .heads = 2, .queries = segments, .keys = segments,
                                   .causal = true, .scale = 0.25f, .y = y, .dropout = how});
      return bench.values(y);
    };
    const std::vector<double> expected = result(by_value());
    CHECK(result(by_counters(bench)) == expected);
    CHECK(result({}) != expected);
  });
}

TEST_CASE("numbers on the device: adamw makes the same update by factors there") {
  on_every_backend([](Bench& bench) {
    const std::vector<double> before = bench.values(bench.normal(DType::f32, {300}));
    const auto updated = [&](int64_t told, float rate, int64_t step) {
      const AdamWTensor tensor{.value = bench.from(DType::f32, {300}, before),
                               .gradient = bench.from(DType::f32, {300}, before),
                               .m = bench.zeros({300}),
                               .v = bench.zeros({300}),
                               .learning_rate_scale = 0.7f,
                               .decays = true};
      AdamWArgs args{.tensors = std::span(&tensor, 1), .learning_rate = 0.1f, .beta1 = 0.9f,
                     .beta2 = 0.95f, .epsilon = 1e-8f, .weight_decay = 0.1f, .step = told};
      const AdamWFactors factors = adamw_factors(args);
      args.learning_rate = rate;
      args.step = step;
      if (told != step) {
        args.factors = bench.arena.make(DType::u8, {sizeof factors});
        bench.arena.memory().copy_in(args.factors.data, &factors, sizeof factors);
      }
      bench.ops.adamw(args);
      return bench.values(tensor.value);
    };
    const std::vector<double> expected = updated(4, 0.1f, 4);
    CHECK(expected != before);
    // A device reads the factors where they are, the host computes them.
    CHECK((updated(4, 0.2f, 9) == expected) == bench.is_device);
  });
}

}  // namespace engine::test::test_device_numbers
