#include "kernels/norm/layernorm.h"

#include "kernels/norm/layernorm_ref.h"
#include "tests/invariance.h"

namespace engine::test::test_layernorm {

namespace {

using Reference = reference::LayerNorm<double>;

// The errors of each result. A sum of a row errs by its length's sum_error relative to the magnitudes in it. A
// normalised value (s - mean) rstd errs relative to (|s| + |mean|) rstd, which is large where the mean is far above the
// spread.
class LayerNormErrors {
 public:
  LayerNormErrors(const Reference& reference, DType stored) : r_(reference), stored_(stored) {
    for (size_t n = 0; n < r_.rows; ++n) {
      double size = 0;
      for (size_t i = n * r_.cols; i < (n + 1) * r_.cols; ++i) size += std::abs(r_.sum[i]);
      mean_size_.push_back(size / static_cast<double>(r_.cols));
    }
  }
  Values of_mean() const { return sum_errors(r_.mean, mean_size_, columns(), DType::f32); }
  // The variance errs as a sum does, and rounding s adds twice |s| rstd roundings.
  Values of_rstd() const {
    Values sizes;
    for (size_t n = 0; n < r_.rows; ++n) sizes.push_back(r_.rstd[n] * (1 + 2 * mean_size_[n] * r_.rstd[n]));
    return sum_errors(r_.rstd, sizes, columns(), DType::f32);
  }
  // The residual is added to a product with dropout's scale.
  Values of_sum() const {
    Values sizes;
    for (size_t i = 0; i < r_.sum.size(); ++i)
      sizes.push_back((r_.residual.empty() ? 0 : std::abs(r_.residual[i])) +
                      (r_.x.empty() ? 0 : std::abs(r_.dropped(r_.x[i], i))));
    return sum_errors(r_.sum, sizes, 1, DType::f32);
  }
  Values of_y() const {
    Values sizes;
    for (size_t i = 0; i < r_.y.size(); ++i)
      sizes.push_back(normed_size(i) * std::abs(r_.gain[i % r_.cols]) +
                      (r_.bias.empty() ? 0 : std::abs(r_.bias[i % r_.cols])));
    return sum_errors(r_.y, sizes, columns(), stored_);
  }
  // dsum = rstd (g - mean g - n mean(g n)), with g = dy gain and n the normalised value. It may be added to `added_to`.
  Values of_dsum(const Values& added_to) const {
    Values sizes;
    for (size_t n = 0; n < r_.rows; ++n) {
      double g_size = 0, gn_size = 0;
      for (size_t i = n * r_.cols; i < (n + 1) * r_.cols; ++i) {
        g_size += gradient_size(i) / static_cast<double>(r_.cols);
        gn_size += gradient_size(i) * normed_size(i) / static_cast<double>(r_.cols);
      }
      for (size_t i = n * r_.cols; i < (n + 1) * r_.cols; ++i)
        sizes.push_back(r_.rstd[n] * (gradient_size(i) + g_size + normed_size(i) * gn_size) +
                        (added_to.empty() ? 0 : std::abs(added_to[i])));
    }
    return sum_errors(r_.dsum, sizes, columns(), DType::f32);
  }
  Values of_dx(const Values& of_dsum) const {
    Values errors;
    for (size_t i = 0; i < r_.dx.size(); ++i)
      errors.push_back(r_.dropped(of_dsum[i], i) + sum_error(1) * std::abs(r_.dx[i]) + stored_error(r_.dx[i], stored_));
    return errors;
  }
  Values of_dgain(Values added_to) const { return of_rows_sum(r_.dgain, std::move(added_to), true); }
  Values of_dbias(Values added_to) const { return of_rows_sum(r_.dbias, std::move(added_to), false); }

 private:
  int64_t columns() const { return static_cast<int64_t>(r_.cols); }
  double normed_size(size_t i) const {
    const size_t n = i / r_.cols;
    return (std::abs(r_.sum[i]) + mean_size_[n]) * r_.rstd[n] * (1 + mean_size_[n] * r_.rstd[n]);
  }
  double gradient_size(size_t i) const { return std::abs(r_.dy[i] * r_.gain[i % r_.cols]); }
  Values of_rows_sum(const Values& expected, Values sizes, bool with_normed) const {
    for (double& size : sizes) size = std::abs(size);
    for (size_t i = 0; i < r_.dy.size(); ++i)
      sizes[i % r_.cols] += std::abs(r_.dy[i]) * (with_normed ? normed_size(i) : 1);
    return sum_errors(expected, sizes, static_cast<int64_t>(std::max(r_.rows, with_normed ? r_.cols : 0)), DType::f32);
  }

  const Reference& r_;
  DType stored_;
  Values mean_size_;  // mean magnitude of each row
};

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
  const LayerNormErrors errors(expected, bench.compute);
  CHECK_ELEMENTS(bench.values(y), expected.y, errors.of_y());
  CHECK_ELEMENTS(bench.values(mean), expected.mean, errors.of_mean());
  CHECK_ELEMENTS(bench.values(rstd), expected.rstd, errors.of_rstd());
  if (!c.sum) return;
  CHECK_ELEMENTS(bench.values(sum), expected.sum, errors.of_sum());

  const Tensor dy = bench.normal(bench.compute, shape), dx = bench.unset(bench.compute, shape);
  const Tensor dsum = c.accumulate ? bench.normal(DType::f32, shape) : bench.unset(DType::f32, shape);
  const Tensor dgain = bench.normal(DType::f32, {c.cols}), dbias = bench.normal(DType::f32, {c.cols});
  expected.dy = bench.values(dy);
  if (c.accumulate) expected.dsum = bench.values(dsum);
  expected.dgain = bench.values(dgain);
  expected.dbias = bench.values(dbias);
  const Values dsum_before = expected.dsum, dgain_before = expected.dgain, dbias_before = expected.dbias;
  expected.backward();
  bench.ops.layernorm_backward({.dy = dy, .sum = sum, .mean = mean, .rstd = rstd, .gain = gain, .dsum = dsum,
                                .accumulate = c.accumulate, .dx = c.x ? dx : Tensor{}, .dgain = dgain,
                                .dbias = c.bias ? dbias : Tensor{}, .dropout = dropout});
  const Values of_dsum = errors.of_dsum(dsum_before);
  CHECK_ELEMENTS(bench.values(dsum), expected.dsum, of_dsum);
  if (c.x) CHECK_ELEMENTS(bench.values(dx), expected.dx, errors.of_dx(of_dsum));
  CHECK_ELEMENTS(bench.values(dgain), expected.dgain, errors.of_dgain(dgain_before));
  if (c.bias) CHECK_ELEMENTS(bench.values(dbias), expected.dbias, errors.of_dbias(dbias_before));
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
  check_derivative(c.dx, c.x, loss);
  check_derivative(c.dsum, c.residual, loss);
  check_derivative(c.dgain, c.gain, loss);
  check_derivative(c.dbias, c.bias, loss);
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
    for (const int64_t cols : {40, 33, 1104}) {  // a device has a kernel for each
      CAPTURE(cols);
      const Shape shape{9, cols};
      const Tensor x = bench.normal(bench.compute, shape), residual = bench.normal(DType::f32, shape);
      const Tensor gain = bench.normal(DType::f32, {cols}), sum = bench.unset(DType::f32, shape);
      const Tensor y = bench.unset(DType::f32, shape), y_in_place = bench.unset(DType::f32, shape);
      bench.ops.layernorm_forward({.x = x, .residual = residual, .sum = sum, .gain = gain, .y = y});
      bench.ops.layernorm_forward({.x = x, .residual = residual, .sum = residual, .gain = gain, .y = y_in_place});
      CHECK(bench.values(y) == bench.values(y_in_place));
      CHECK(bench.values(sum) == bench.values(residual));
    }
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
    const Values errors = LayerNormErrors(expected, DType::f32).of_y();
    for (size_t row : {0u, 1u, 2u, 4u}) {
      const auto of_row = [&](const Values& all) {
        return Values(all.begin() + static_cast<long>(row * 64), all.begin() + static_cast<long>(row * 64 + 64));
      };
      CHECK_ELEMENTS(of_row(actual), of_row(expected.y), of_row(errors));
    }
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

}  // namespace engine::test::test_layernorm
