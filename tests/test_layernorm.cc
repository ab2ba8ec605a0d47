#include "kernels/norm/layernorm.h"

#include "kernels/norm/layernorm_ref.h"
#include "tests/invariance.h"

namespace engine::test {

namespace {

using Reference = reference::LayerNorm<double>;

// A sum of n terms in four running sums errs by far less than sqrt(n) roundings; a stored result by one of its own.
double tolerance(int64_t terms, DType stored) {
  return 4 * epsilon_of(DType::f32) * std::sqrt(static_cast<double>(terms) + 16) + epsilon_of(stored);
}
// The rounding of s itself is magnified by rstd: by |s| rstd relative to a normalised value of size 1.
double magnified_rounding(const Reference& c) {
  double largest = 0;
  for (size_t i = 0; i < c.sum.size(); ++i) largest = std::max(largest, std::abs(c.sum[i]) * c.rstd[i / c.cols]);
  return 2 * epsilon_of(DType::f32) * largest;
}

// How much larger what is summed is than the mean that is left of it.
double cancellation(const Reference& c) {
  double largest = 0, mean = 1e-30;
  for (double value : c.sum) largest = std::max(largest, std::abs(value));
  for (double value : c.mean) mean = std::max(mean, std::abs(value));
  return std::max(1.0, largest / mean);
}

const Dropout dropout_of_a_third{.rate = 0.3f, .seed = 7, .site = 3, .step = 11, .first_row = 5};

struct Case {
  int64_t rows, cols;
  bool x, residual, sum, bias, drops, accumulate;
};

std::vector<double> random_values(Random& random, size_t count, double scale, double mean) {
  std::vector<double> values(count);
  for (double& value : values) value = mean + scale * static_cast<double>(random.normal());
  return values;
}

void check_forward_and_backward(Bench& bench, const Case& c) {
  CAPTURE(c.rows);
  CAPTURE(c.cols);
  CAPTURE(c.x);
  CAPTURE(c.residual);
  CAPTURE(c.sum);
  CAPTURE(c.bias);
  CAPTURE(c.drops);
  CAPTURE(c.accumulate);
  const Shape shape{c.rows, c.cols};
  const Dropout dropout = c.drops ? dropout_of_a_third : Dropout{};
  const Tensor x = c.x ? bench.normal(bench.compute, shape, 2, 0.5) : Tensor{};
  const Tensor residual = c.residual ? bench.normal(DType::f32, shape, 3, -1) : Tensor{};
  const Tensor gain = bench.normal(DType::f32, {c.cols}, 0.5, 1.5), bias = bench.normal(DType::f32, {c.cols}, 1, 0.3);
  const Tensor sum = bench.unset(DType::f32, shape), y = bench.unset(bench.compute, shape);
  const Tensor mean = bench.unset(DType::f32, {c.rows}), rstd = bench.unset(DType::f32, {c.rows});
  bench.ops.layernorm_forward({.x = x,
                               .residual = residual,
                               .sum = c.sum ? sum : Tensor{},
                               .gain = gain,
                               .bias = c.bias ? bias : Tensor{},
                               .y = y,
                               .mean = mean,
                               .rstd = rstd,
                               .dropout = dropout});
  Reference expected{.rows = static_cast<size_t>(c.rows), .cols = static_cast<size_t>(c.cols), .dropout = dropout};
  if (c.x) expected.x = bench.values(x);
  if (c.residual) expected.residual = bench.values(residual);
  expected.gain = bench.values(gain);
  if (c.bias) expected.bias = bench.values(bias);
  expected.forward();
  const double magnified = magnified_rounding(expected);
  CHECK_CLOSE(bench.values(y), expected.y, tolerance(c.cols, bench.compute) + magnified);
  CHECK_CLOSE(bench.values(mean), expected.mean, tolerance(c.cols, DType::f32) * cancellation(expected));
  CHECK_CLOSE(bench.values(rstd), expected.rstd, tolerance(c.cols, DType::f32) + magnified);
  if (!c.sum) return;
  CHECK_CLOSE(bench.values(sum), expected.sum, tolerance(1, DType::f32));

  const Tensor dy = bench.normal(bench.compute, shape), dx = bench.unset(bench.compute, shape);
  const Tensor dsum = c.accumulate ? bench.normal(DType::f32, shape) : bench.unset(DType::f32, shape);
  const Tensor dgain = bench.normal(DType::f32, {c.cols}), dbias = bench.normal(DType::f32, {c.cols});
  expected.dy = bench.values(dy);
  if (c.accumulate) expected.dsum = bench.values(dsum);
  expected.dgain = bench.values(dgain);
  expected.dbias = bench.values(dbias);
  expected.backward();
  bench.ops.layernorm_backward({.dy = dy, .sum = sum, .mean = mean, .rstd = rstd, .gain = gain, .dsum = dsum,
                                .accumulate = c.accumulate, .dx = c.x ? dx : Tensor{}, .dgain = dgain,
                                .dbias = c.bias ? dbias : Tensor{}, .dropout = dropout});
  CHECK_CLOSE(bench.values(dsum), expected.dsum, 4 * (tolerance(c.cols, DType::f32) + magnified));
  if (c.x) CHECK_CLOSE(bench.values(dx), expected.dx, 4 * (tolerance(c.cols, bench.compute) + magnified));
  CHECK_CLOSE(bench.values(dgain), expected.dgain, tolerance(c.rows, DType::f32) + magnified);
  if (c.bias) CHECK_CLOSE(bench.values(dbias), expected.dbias, tolerance(c.rows, DType::f32));
}

}  // namespace

TEST_CASE("layernorm: the reference's backward is the derivative of its forward") {
  Random random(5, 0);
  Reference c{.rows = 3, .cols = 5, .dropout = dropout_of_a_third};
  c.x = random_values(random, 15, 2, 0.5);
  c.residual = random_values(random, 15, 1, -0.5);
  c.gain = random_values(random, 5, 0.5, 1.5);
  c.bias = random_values(random, 5, 0.5, 0.5);
  const std::vector<double> dy = random_values(random, 15, 1, 0), along = random_values(random, 15, 1, 0);
  // The loss sees y, and the residual stream itself (which backward accumulates onto).
  const auto loss = [&] {
    c.forward();
    return dot(c.y, dy) + dot(c.sum, along);
  };
  loss();
  c.dy = dy;
  c.dsum = along;
  c.backward();
  CHECK_CLOSE(c.dx, finite_differences(c.x, loss), finite_difference_tolerance);
  CHECK_CLOSE(c.dsum, finite_differences(c.residual, loss), finite_difference_tolerance);
  CHECK_CLOSE(c.dgain, finite_differences(c.gain, loss), finite_difference_tolerance);
  CHECK_CLOSE(c.dbias, finite_differences(c.bias, loss), finite_difference_tolerance);
}

TEST_CASE("layernorm: forward and backward with every choice of optional arguments") {
  on_every_backend([](Bench& bench) {
    for (int choice = 0; choice < 64; ++choice) {
      const Case c{.rows = 7,
                   .cols = 33,
                   .x = (choice & 1) != 0,
                   .residual = (choice & 2) != 0,
                   .sum = (choice & 4) != 0,
                   .bias = (choice & 8) != 0,
                   .drops = (choice & 16) != 0,
                   .accumulate = (choice & 32) != 0};
      if (c.x || c.residual) check_forward_and_backward(bench, c);
    }
  });
}

TEST_CASE("layernorm: odd shapes") {
  on_every_backend([](Bench& bench) {
    for (int64_t rows : {1, 2, 130, 2000})
      for (int64_t cols : {3, 17, 65, 100, 768, 1104, 8200}) {
        if (rows * cols > 100000) continue;
        check_forward_and_backward(bench, {.rows = rows, .cols = cols, .x = true, .residual = true, .sum = true,
                                           .bias = true, .drops = true, .accumulate = true});
      }
  });
}

TEST_CASE("layernorm: one column gives the bias, and no rows change nothing") {
  on_every_backend([](Bench& bench) {
    const Tensor gain = bench.normal(DType::f32, {1}), bias = bench.from(DType::f32, {1}, {0.75});
    const Tensor x = bench.normal(bench.compute, {5, 1}), y = bench.unset(bench.compute, {5, 1});
    bench.ops.layernorm_forward({.x = x, .gain = gain, .bias = bias, .y = y});
    CHECK(bench.values(y) == std::vector<double>(5, 0.75));
    const Tensor none = bench.arena.make(bench.compute, {0, 1}), no_rows = bench.arena.make(DType::f32, {0, 1});
    const Tensor no_means = bench.arena.make(DType::f32, {0});
    bench.ops.layernorm_forward({.x = none, .gain = gain, .bias = bias, .y = none});
    const Tensor dgain = bench.from(DType::f32, {1}, {2.5});
    bench.ops.layernorm_backward({.dy = none, .sum = no_rows, .mean = no_means, .rstd = no_means, .gain = gain,
                                  .dsum = no_rows, .dgain = dgain});
    CHECK(bench.values(dgain)[0] == 2.5);
  });
}

TEST_CASE("layernorm: sum may be the residual itself") {
  on_every_backend([](Bench& bench) {
    const Tensor x = bench.normal(bench.compute, {9, 40}), residual = bench.normal(DType::f32, {9, 40});
    const Tensor gain = bench.normal(DType::f32, {40}), sum = bench.unset(DType::f32, {9, 40});
    const Tensor y = bench.unset(DType::f32, {9, 40}), y_in_place = bench.unset(DType::f32, {9, 40});
    bench.ops.layernorm_forward({.x = x, .residual = residual, .sum = sum, .gain = gain, .y = y});
    bench.ops.layernorm_forward({.x = x, .residual = residual, .sum = residual, .gain = gain, .y = y_in_place});
    CHECK(bench.values(y) == bench.values(y_in_place));
    CHECK(bench.values(sum) == bench.values(residual));
  });
}

TEST_CASE(
    "layernorm: a mean far above the spread does not cancel, zeros and subnormals stay finite, NaN stays in its row") {
  on_every_backend([](Bench& bench) {
    const Tensor gain = bench.from(DType::f32, {64}, std::vector<double>(64, 1.0)),
                 y = bench.unset(DType::f32, {5, 64});
    std::vector<double> values(5 * 64, 0.0);
    for (size_t i = 0; i < 64; ++i) {
      values[i] = 4096.0 + static_cast<double>(i % 8);  // exact in f32
      values[128 + i] = 1e-40 * static_cast<double>(i);
      values[192 + i] = 3.0 * static_cast<double>(i % 5);
      values[256 + i] = static_cast<double>(i % 3);
    }
    values[192 + 7] = NAN;
    const Tensor residual = bench.from(DType::f32, {5, 64}, values);
    bench.ops.layernorm_forward({.residual = residual, .gain = gain, .y = y});
    Reference expected{.rows = 5, .cols = 64, .residual = bench.values(residual), .gain = bench.values(gain)};
    expected.forward();
    const std::vector<double> actual = bench.values(y);
    for (size_t row : {0u, 1u, 2u, 4u})
      CHECK_CLOSE(std::vector<double>(actual.begin() + static_cast<long>(row * 64),
                                      actual.begin() + static_cast<long>(row * 64 + 64)),
                  std::vector<double>(expected.y.begin() + static_cast<long>(row * 64),
                                      expected.y.begin() + static_cast<long>(row * 64 + 64)),
                  tolerance(64, DType::f32));
    for (size_t i = 192; i < 256; ++i) CHECK(std::isnan(actual[i]));
  });
}

TEST_CASE("layernorm: the same bits at any number of threads") {
  on_every_backend([](Bench& bench) {
    const Shape shape{333, 200};
    const Tensor x = bench.normal(bench.compute, shape), residual = bench.normal(DType::f32, shape);
    const Tensor gain = bench.normal(DType::f32, {200}), bias = bench.normal(DType::f32, {200});
    const Tensor dy = bench.normal(bench.compute, shape);
    check_same_at_any_thread_count([&] {
      ArenaScope scope(bench.arena);
      const Tensor sum = bench.unset(DType::f32, shape), y = bench.unset(bench.compute, shape);
      const Tensor mean = bench.unset(DType::f32, {333}), rstd = bench.unset(DType::f32, {333});
      const Tensor dsum = bench.unset(DType::f32, shape), dx = bench.unset(bench.compute, shape);
      const Tensor dgain = bench.zeros({200}), dbias = bench.zeros({200});
      bench.ops.layernorm_forward({.x = x, .residual = residual, .sum = sum, .gain = gain, .bias = bias, .y = y,
                                   .mean = mean, .rstd = rstd, .dropout = dropout_of_a_third});
      bench.ops.layernorm_backward({.dy = dy, .sum = sum, .mean = mean, .rstd = rstd, .gain = gain, .dsum = dsum,
                                    .dx = dx, .dgain = dgain, .dbias = dbias, .dropout = dropout_of_a_third});
      std::vector<double> all;
      for (const Tensor& result : {sum, y, mean, rstd, dsum, dx, dgain, dbias}) append(all, bench.values(result));
      return all;
    });
  });
}

TEST_CASE("layernorm: what does not fit is an error that says so") {
  on_every_backend([](Bench& bench) {
    const Tensor gain = bench.zeros({8}), y = bench.zeros({3, 8});
    CHECK_THROWS_WITH_AS(bench.ops.layernorm_forward({.gain = gain, .y = y}),
                         "layernorm_forward: neither x nor residual is given", Error);
    CHECK_THROWS_WITH_AS(bench.ops.layernorm_forward({.residual = y, .gain = gain, .y = bench.zeros({2, 8})}),
                         "layernorm_forward: y is [2, 8], not [3, 8]", Error);
    CHECK_THROWS_WITH_AS(bench.ops.layernorm_forward({.residual = y, .gain = bench.zeros({6}), .y = y}),
                         "layernorm_forward: y is [3, 8], not [3, 6]", Error);
  });
}

}  // namespace engine::test
