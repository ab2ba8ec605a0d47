#include "kernels/elementwise/elementwise.h"

#include "kernels/elementwise/elementwise_ref.h"
#include "tests/invariance.h"

namespace engine::test::test_elementwise {

TEST_CASE("copy: every pair of dtypes rounds as core/bf16.h does, and keeps the bits where the dtypes are equal") {
  on_every_backend([](Bench& bench) {
    for (int64_t cols : {1, 3, 17, 33, 65, 100, 70001}) {
      std::vector<double> values{0.0,     -0.0,       1e-40,      -1e-45,   3.4e38,
                                 -3.4e38, 1.00390625, 1.01171875, INFINITY, -INFINITY};
      while (values.size() < static_cast<size_t>(cols)) values.push_back(bench.random.normal());
      values.resize(static_cast<size_t>(cols));
      for (DType from : {DType::f32, DType::bf16})
        for (DType to : {DType::f32, DType::bf16}) {
          CAPTURE(cols);
          const Tensor x = bench.from(from, {cols}, values), y = bench.unset(to, {cols});
          bench.ops.copy({.x = x, .y = y});
          const std::vector<double> held = bench.values(x);
          const std::vector<float> singles(held.begin(), held.end());
          if (to == DType::bf16) {
            const std::vector<float> rounded = reference::copy<float>(reference::copy<bf16>(singles));
            CHECK(bench.values(y) == std::vector<double>(rounded.begin(), rounded.end()));
          } else {
            CHECK(bench.values(y) == held);
          }
        }
    }
    const Tensor nan = bench.unset(DType::f32, {17}), half = bench.arena.make(DType::bf16, {17});
    bench.ops.copy({.x = nan, .y = half});
    for (double value : bench.values(half)) CHECK(std::isnan(value));
    const Tensor integers = bench.integers({3}, {-7, 0, 2147483647}), same = bench.arena.make(DType::i32, {3});
    bench.ops.copy({.x = integers, .y = same});
    CHECK(bench.values(same) == bench.values(integers));
    const Tensor none = bench.arena.make(DType::f32, {0});
    bench.ops.copy({.x = none, .y = none});
    CHECK_THROWS_WITH_AS(bench.ops.copy({.x = nan, .y = none}), "copy: x is [17], y [0]", Error);
    CHECK_THROWS_WITH_AS(bench.ops.copy({.x = integers, .y = bench.zeros({3})}), "copy: x is i32, not f32 or bf16",
                         Error);
  });
}

TEST_CASE("lerp: y += t (x - y)") {
  on_every_backend([](Bench& bench) {
    for (int64_t cols : {0, 1, 3, 17, 33, 65, 100, 70001})
      for (float t : {0.0f, 0.25f, 1.0f}) {
        CAPTURE(cols); CAPTURE(t);
        const Tensor x = bench.normal(DType::f32, {cols}), y = bench.normal(DType::f32, {cols});
        Values expected = bench.values(y), sizes = magnitudes(expected);
        const Values x_values = bench.values(x);
        for (size_t i = 0; i < sizes.size(); ++i)
          sizes[i] += static_cast<double>(t) * (sizes[i] + std::abs(x_values[i]));
        reference::lerp(x_values, static_cast<double>(t), expected);
        bench.ops.lerp({.x = x, .y = y, .t = t});
        CHECK_ELEMENTS(bench.values(y), expected, sum_errors(expected, sizes, 1, DType::f32));
      }
    const Tensor y = bench.normal(DType::f32, {5});
    CHECK_THROWS_WITH_AS(bench.ops.lerp({.x = y, .y = bench.zeros({4}), .t = 0.5f}), "lerp: y is [4], not [5]", Error);
    bench.ops.lerp({.x = bench.unset(DType::f32, {5}), .y = y, .t = 0.5f});
    for (double value : bench.values(y)) CHECK(std::isnan(value));
  });
}

TEST_CASE("dropout: the mask of Dropout::drops at any place in the batch, with and without a residual, in place") {
  on_every_backend([](Bench& bench) {
    for (DType other : {DType::f32, DType::bf16})
      for (const Shape& shape : {Shape{1, 1}, Shape{3, 17}, Shape{7, 33}, Shape{5, 64}, Shape{1100, 65}})
        for (float rate : {0.0f, 0.3f, 1.0f}) {
          CAPTURE(shape.text()); CAPTURE(rate);
          const Tensor x = bench.normal(bench.compute, shape), residual = bench.normal(DType::f32, shape);
          const Tensor y = bench.unset(other, shape);
          const int64_t far = (int64_t{1} << 33) + 5;  // counters of such elements fill two words
          const Dropout how{.rate = rate, .seed = 3, .site = 2, .step = 7, .first_row = far};
          const std::vector<double> x_values = bench.values(x), residual_values = bench.values(residual);
          const std::vector<double> alone = reference::dropout(x_values, {}, how, shape[1]);
          const std::vector<double> both = reference::dropout(x_values, residual_values, how, shape[1]);
          const Values sizes = reference::dropout(magnitudes(x_values), magnitudes(residual_values), how, shape[1]);
          bench.ops.dropout({.x = x, .y = y, .dropout = how});
          CHECK_ELEMENTS(bench.values(y), alone, few_roundings(alone, other));
          bench.ops.dropout({.x = x, .residual = residual, .y = y, .dropout = how});
          CHECK_ELEMENTS(bench.values(y), both, sum_errors(both, sizes, 1, other));
          check_same_at_any_thread_count([&] {
            bench.ops.dropout({.x = x, .y = y, .dropout = how});
            return bench.values(y);
          });
          bench.ops.dropout({.x = x, .residual = residual, .y = residual, .dropout = how});
          CHECK_ELEMENTS(bench.values(residual), both, sum_errors(both, sizes, 1, DType::f32));
          bench.ops.dropout({.x = x, .y = x, .dropout = how});
          CHECK_ELEMENTS(bench.values(x), alone, few_roundings(alone, bench.compute));
        }
    const Tensor x = bench.zeros({3, 5});
    CHECK_THROWS_WITH_AS(bench.ops.dropout({.x = x, .y = bench.zeros({3, 4})}), "dropout: y is [3, 4], not [3, 5]",
                         Error);
    CHECK_THROWS_WITH_AS(bench.ops.dropout({.x = x, .residual = bench.zeros({15}), .y = x}),
                         "dropout: residual is [15], not [3, 5]", Error);
    bench.ops.dropout({.x = bench.zeros({0, 5}), .y = bench.zeros({0, 5})});
  });
}

}  // namespace engine::test::test_elementwise
