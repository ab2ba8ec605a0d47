#include "kernels/losses/cosine_loss.h"

#include "kernels/losses/cosine_loss_ref.h"
#include "tests/invariance.h"

namespace engine::test::test_cosine_loss {

namespace {

using Reference = reference::CosineLoss<double>;

Reference reference_of(const Bench& bench, const CosineLossArgs& args) {
  Reference expected;
  expected.rows = static_cast<size_t>(args.x.rows());
  expected.cols = static_cast<size_t>(args.x.cols());
  expected.x = bench.values(args.x);
  expected.y = bench.values(args.y);
  expected.gradient_scale = static_cast<double>(args.gradient_scale);
  expected.run();
  return expected;
}

// Returns the error of a cosine. Three products of rows make it, each of which errs relative to the rows' norms.
double error_of(int64_t cols) { return 3 * sum_error(cols); }

// Returns the sizes of the two terms of dx. Where rows are nearly parallel the gradient is far smaller than they are.
Values sizes_of_dx(const Reference& r) {
  Values sizes;
  for (size_t i = 0; i < r.dx.size(); ++i) {
    const size_t row = i / r.cols;
    double xx = static_cast<double>(cosine_epsilon), yy = xx;
    for (size_t k = row * r.cols; k < (row + 1) * r.cols; ++k) {
      xx += r.x[k] * r.x[k];
      yy += r.y[k] * r.y[k];
    }
    sizes.push_back(std::abs(r.gradient_scale) * (std::abs(r.x[i]) / xx + std::abs(r.y[i]) / std::sqrt(xx * yy)));
  }
  return sizes;
}

void check(Bench& bench, DType other, DType of_dx, int64_t rows, int64_t cols, double scale) {
  CAPTURE(rows); CAPTURE(cols); CAPTURE(scale);
  CAPTURE(std::string(name_of(other))); CAPTURE(std::string(name_of(of_dx)));
  const ArenaScope scope(bench.arena);
  CosineLossArgs args{.x = bench.normal(bench.compute, {rows, cols}, scale, 0.3 * scale),
                      .y = bench.normal(other, {rows, cols}, 2, 1), .totals = bench.from(DType::f32, {2}, {10, 20}),
                      .row_losses = bench.unset(DType::f32, {rows}), .gradient_scale = 0.25f,
                      .dx = bench.unset(of_dx, {rows, cols})};
  const Reference expected = reference_of(bench, args);
  bench.ops.cosine_loss(args);
  const double error = error_of(cols);
  const std::vector<double> losses = bench.values(args.row_losses), totals = bench.values(args.totals);
  for (size_t r = 0; r < expected.rows; ++r) CHECK(std::abs(losses[r] - expected.row_losses[r]) <= error);
  CHECK(std::abs(totals[0] - 10 - expected.loss) <= error * (10 + static_cast<double>(rows)));
  CHECK(totals[1] == 20 + static_cast<double>(rows));
  const Values sizes = sizes_of_dx(expected);
  const auto errors = [&](const Values& of, double added_to) {
    Values all;
    for (size_t i = 0; i < of.size(); ++i)
      all.push_back(error * sizes[i] + sum_error(1) * std::abs(added_to) + stored_error(of[i], of_dx));
    return all;
  };
  CHECK_ELEMENTS(bench.values(args.dx), expected.dx, errors(expected.dx, 0));
  // The gradient is added to what is there. Without a gradient the losses are the same.
  bench.fill(args.dx, Values(expected.dx.size(), 0.5 * std::abs(expected.dx[0]) + 1e-3));
  const double stored = bench.values(args.dx).at(0);
  args.accumulate = true;
  bench.ops.cosine_loss(args);
  Values sums = expected.dx;
  for (double& sum : sums) sum += stored;
  CHECK_ELEMENTS(bench.values(args.dx), sums, errors(sums, stored));
  args.dx = {};
  bench.ops.cosine_loss(args);
  CHECK(bench.values(args.row_losses) == losses);
}

}  // namespace

TEST_CASE("cosine loss: the reference's gradient is the derivative of its loss") {
  Random random(5, 0);
  Reference r;
  r.rows = 3, r.cols = 5, r.gradient_scale = 1.5;
  for (int i = 0; i < 15; ++i) {
    r.x.push_back(random.normal());
    r.y.push_back(2 * random.normal());
  }
  r.run();
  const std::vector<double> dx = r.dx;
  const auto loss = [&] {
    r.run();
    return r.gradient_scale * r.loss;
  };
  check_derivative(dx, r.x, loss);
}

TEST_CASE("cosine loss: odd shapes, every combination of dtypes, long and short rows") {
  on_every_backend([](Bench& bench) {
    for (DType other : {DType::f32, DType::bf16})
      for (DType of_dx : {DType::f32, DType::bf16})
        for (int64_t cols : {2, 3, 17, 32, 100, 768}) check(bench, other, of_dx, 7, cols, 1);
    check(bench, DType::f32, DType::f32, 1301, 24, 1);  // more rows than a block that adds up losses has threads
    check(bench, DType::f32, DType::f32, 3, 33, 1e3);
    check(bench, DType::f32, DType::f32, 3, 33, 1e-3);
  });
}

TEST_CASE("cosine loss: equal, opposite and missing directions; NaN; no rows") {
  on_every_backend([](Bench& bench) {
    const Tensor x = bench.normal(bench.compute, {5, 40}), totals = bench.zeros({2}), losses = bench.zeros({5});
    bench.ops.cosine_loss({.x = x, .y = x, .totals = totals, .row_losses = losses});
    CHECK(bench.values(losses) == std::vector<double>(5, 0.0));
    const double none = 0;
    const Tensor a = bench.from(bench.compute, {4, 2}, {1, 2, none, none, 3, 4, NAN, 1});
    const Tensor b = bench.from(bench.compute, {4, 2}, {-2, -4, 1, 1, none, none, 1, 1});
    const Tensor four = bench.unset(DType::f32, {4}), dx = bench.unset(DType::f32, {4, 2});
    bench.ops.cosine_loss({.x = a, .y = b, .totals = totals, .row_losses = four, .dx = dx});
    const std::vector<double> loss = bench.values(four), d = bench.values(dx);
    CHECK(loss[0] == 2);
    CHECK(loss[1] == 1);
    CHECK(loss[2] == 1);
    CHECK(std::isnan(loss[3]));
    CHECK(std::isnan(d[6]));
    for (size_t i = 0; i < 2; ++i) CHECK(std::abs(d[i]) <= epsilon_of(DType::f32));
    for (size_t i = 2; i < 6; ++i) CHECK(std::isfinite(d[i]));  // epsilon bounds them by 1e6 y
    const Tensor empty = bench.arena.make(bench.compute, {0, 3}), untouched = bench.from(DType::f32, {2}, {1, 2});
    bench.ops.cosine_loss({.x = empty, .y = empty, .totals = untouched});
    CHECK(bench.values(untouched) == std::vector<double>{1, 2});
  });
}

TEST_CASE("cosine loss: the same bits at any number of threads") {
  on_every_backend([](Bench& bench) {
    const int64_t rows = bench.is_device ? 300 : 3000;
    const Tensor x = bench.normal(bench.compute, {rows, 50}), y = bench.normal(DType::f32, {rows, 50});
    check_same_at_any_thread_count([&] {
      const ArenaScope scope(bench.arena);
      const CosineLossArgs args{.x = x, .y = y, .totals = bench.zeros({2}),
                                .row_losses = bench.unset(DType::f32, {rows}),
                                .dx = bench.unset(bench.compute, {rows, 50})};
      bench.ops.cosine_loss(args);
      std::vector<double> all = bench.values(args.totals);
      append(all, bench.values(args.row_losses));
      append(all, bench.values(args.dx));
      return all;
    });
  });
}

TEST_CASE("cosine loss: what does not fit is an error") {
  on_every_backend([](Bench& bench) {
    const Tensor x = bench.zeros({2, 4}), y = bench.zeros({2, 5}), totals = bench.zeros({2});
    CHECK_THROWS_WITH_AS(bench.ops.cosine_loss({.x = x, .y = y, .totals = totals}),
                         "cosine_loss: y is [2, 5], not [2, 4]", Error);
    CHECK_THROWS_WITH_AS(bench.ops.cosine_loss({.x = x, .y = x, .totals = totals, .dx = y}),
                         "cosine_loss: dx is [2, 5], not [2, 4]", Error);
  });
}

}  // namespace engine::test::test_cosine_loss
