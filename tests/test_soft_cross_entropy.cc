#include "kernels/losses/soft_cross_entropy.h"

#include "kernels/losses/soft_cross_entropy_ref.h"
#include "tests/invariance.h"

namespace engine::test::test_soft_cross_entropy {

namespace {

using Reference = reference::SoftCrossEntropy<double>;

Reference reference_of(const Bench& bench, const SoftCrossEntropyArgs& args) {
  Reference expected;
  expected.rows = static_cast<size_t>(args.logits.rows());
  expected.vocabulary = static_cast<size_t>(args.logits.cols());
  expected.logits = bench.values(args.logits);
  expected.targets = bench.values(args.targets);
  expected.temperature = static_cast<double>(args.temperature);
  expected.gradient_scale = static_cast<double>(args.gradient_scale);
  expected.run();
  return expected;
}

// Logits as large as `scale` are rounded to f32 when their row's largest is subtracted and the temperature divides
// them. Exponents err by that and by 16 roundings of the exponential and of sums. The loss is T times such distances.
double error_of(double scale, double temperature) {
  return 8 * epsilon_of(DType::f32) * (16 + 8 * scale / temperature);
}

// A gradient is the difference of two probabilities, each of which errs relative to itself. Probabilities below the
// smallest number of f32 may be 0.
Values errors_of_dlogits(const Reference& r, double error) {
  const auto probabilities = [&](const Values& all, size_t row) {
    const auto begin = all.begin() + static_cast<int64_t>(row * r.vocabulary);
    Values p(begin, begin + static_cast<int64_t>(r.vocabulary));
    const double largest = *std::max_element(p.begin(), p.end());
    double sum = 0;
    for (double& value : p) sum += value = std::exp((value - largest) / r.temperature);
    for (double& value : p) value /= sum;
    return p;
  };
  Values errors;
  for (size_t row = 0; row < r.rows; ++row) {
    const Values p = probabilities(r.targets, row), q = probabilities(r.logits, row);
    for (size_t v = 0; v < r.vocabulary; ++v)
      errors.push_back(r.gradient_scale * r.temperature * (error * (p[v] + q[v]) + 1e-37) +
                       stored_error(r.dlogits[row * r.vocabulary + v], DType::f32));
  }
  return errors;
}

void check(Bench& bench, int64_t rows, int64_t vocabulary, double scale, float temperature) {
  CAPTURE(rows); CAPTURE(vocabulary); CAPTURE(scale); CAPTURE(temperature);
  const ArenaScope scope(bench.arena);
  const Tensor logits = bench.normal(DType::f32, {rows, vocabulary}, scale, 3);
  const Tensor targets = bench.normal(DType::f32, {rows, vocabulary}, scale, -5);
  SoftCrossEntropyArgs args{.logits = logits, .targets = targets, .temperature = temperature,
                            .totals = bench.from(DType::f32, {2}, {10, 20}),
                            .row_losses = bench.unset(DType::f32, {rows}), .gradient_scale = 0.25f,
                            .dlogits = bench.unset(DType::f32, {rows, vocabulary})};
  const Reference expected = reference_of(bench, args);
  bench.ops.soft_cross_entropy(args);
  const double t = static_cast<double>(temperature), error = error_of(scale, t);
  const std::vector<double> losses = bench.values(args.row_losses), dlogits = bench.values(args.dlogits);
  for (size_t r = 0; r < expected.rows; ++r)
    CHECK(std::abs(losses[r] - expected.row_losses[r]) <= error * (t * t + std::abs(expected.row_losses[r])));
  const std::vector<double> totals = bench.values(args.totals);
  CHECK(std::abs(totals[0] - 10 - expected.loss) <=
        error * (10 + t * t * static_cast<double>(rows) + std::abs(expected.loss)));
  CHECK(totals[1] == 20 + static_cast<double>(rows));
  CHECK_ELEMENTS(dlogits, expected.dlogits, errors_of_dlogits(expected, error));
  // The gradient may be in place, or left out.
  SoftCrossEntropyArgs other = args;
  other.totals = bench.zeros({2});
  other.dlogits = {};
  bench.ops.soft_cross_entropy(other);
  CHECK(bench.values(args.row_losses) == losses);
  other.dlogits = logits;
  other.row_losses = {};
  bench.ops.soft_cross_entropy(other);
  CHECK(bench.values(logits) == dlogits);
  CHECK(bench.values(other.totals)[1] == 2 * static_cast<double>(rows));
}

}  // namespace

TEST_CASE("soft cross entropy: the reference's gradient is the derivative of its loss") {
  Random random(5, 0);
  Reference r;
  r.rows = 3, r.vocabulary = 5, r.temperature = 2.5, r.gradient_scale = 1.5;
  for (int i = 0; i < 15; ++i) {
    r.logits.push_back(random.normal());
    r.targets.push_back(2 * random.normal());
  }
  r.run();
  const std::vector<double> dlogits = r.dlogits;
  const auto loss = [&] {
    r.run();
    return r.gradient_scale * r.loss;
  };
  check_derivative(dlogits, r.logits, loss);
}

TEST_CASE("soft cross entropy: odd shapes, temperatures, large logits") {
  on_every_backend([](Bench& bench) {
    for (int64_t vocabulary : {1, 2, 3, 17, 64, 100, 1031})
      for (float temperature : {1.0f, 2.0f, 0.7f}) check(bench, 7, vocabulary, 1.5, temperature);
    check(bench, 1, 40, 1, 8);
    check(bench, 3, bench.is_device ? 3000 : 30522, 3, 2);
    check(bench, 300, 5, 1, 2);
    check(bench, 5, 65, 1e4, 2);
  });
}

TEST_CASE("soft cross entropy: equal logits have loss 0 and no gradient, wherever they lie") {
  on_every_backend([](Bench& bench) {
    const Tensor logits = bench.normal(DType::f32, {4, 77}, 5), totals = bench.zeros({2});
    const Tensor losses = bench.unset(DType::f32, {4}), dlogits = bench.unset(DType::f32, {4, 77});
    bench.ops.soft_cross_entropy({.logits = logits, .targets = logits, .temperature = 3, .totals = totals,
                                  .row_losses = losses, .dlogits = dlogits});
    CHECK(bench.values(losses) == std::vector<double>(4, 0.0));
    for (double d : bench.values(dlogits)) CHECK(std::abs(d) <= epsilon_of(DType::f32));
  });
}

TEST_CASE("soft cross entropy: what the teacher or the student rules out, NaN, and no rows") {
  on_every_backend([](Bench& bench) {
    const double no = -INFINITY;
    const Tensor logits = bench.from(DType::f32, {4, 3}, {1, 2, no, 1, 2, no, 1, 2, 3, 1, NAN, 3});
    const Tensor targets = bench.from(DType::f32, {4, 3}, {1, 2, no, 1, 2, 3, 1, 2, no, 1, 2, 3});
    const Tensor totals = bench.zeros({2}), losses = bench.unset(DType::f32, {4});
    const Tensor dlogits = bench.unset(DType::f32, {4, 3});
    bench.ops.soft_cross_entropy({.logits = logits, .targets = targets, .totals = totals, .row_losses = losses,
                                  .dlogits = dlogits});
    const std::vector<double> loss = bench.values(losses), d = bench.values(dlogits);
    CHECK(loss[0] == 0);
    CHECK(d[2] == 0);
    CHECK(loss[1] == INFINITY);
    // The divergence is the log of what the student gives to all three tokens, relative to the first two.
    const double expected = std::log(1 + std::exp(3.0) / (std::exp(1.0) + std::exp(2.0)));
    CHECK(std::abs(loss[2] - expected) <= error_of(3, 1));
    CHECK(std::isnan(loss[3]));
    CHECK(std::isnan(d[9]));
    const Tensor none = bench.arena.make(DType::f32, {0, 3}), untouched = bench.from(DType::f32, {2}, {1, 2});
    bench.ops.soft_cross_entropy({.logits = none, .targets = none, .totals = untouched});
    CHECK(bench.values(untouched) == std::vector<double>{1, 2});
  });
}

TEST_CASE("soft cross entropy: the same bits at any number of threads") {
  on_every_backend([](Bench& bench) {
    for (int64_t vocabulary : {2, 5003}) {
      const int64_t rows = (vocabulary == 2 ? 20000 : 50) / (bench.is_device ? 10 : 1);
      const Tensor logits = bench.normal(DType::f32, {rows, vocabulary}, 2);
      const Tensor targets = bench.normal(DType::f32, {rows, vocabulary}, 2);
      check_same_at_any_thread_count([&] {
        const ArenaScope scope(bench.arena);
        const SoftCrossEntropyArgs args{.logits = logits, .targets = targets, .temperature = 2,
                                        .totals = bench.zeros({2}), .row_losses = bench.unset(DType::f32, {rows}),
                                        .dlogits = bench.unset(DType::f32, {rows, vocabulary})};
        bench.ops.soft_cross_entropy(args);
        std::vector<double> all = bench.values(args.totals);
        append(all, bench.values(args.row_losses));
        append(all, bench.values(args.dlogits));
        return all;
      });
    }
  });
}

TEST_CASE("soft cross entropy: what does not fit is an error") {
  on_every_backend([](Bench& bench) {
    const Tensor logits = bench.zeros({2, 4}), targets = bench.zeros({2, 5}), totals = bench.zeros({2});
    CHECK_THROWS_WITH_AS(bench.ops.soft_cross_entropy({.logits = logits, .targets = targets, .totals = totals}),
                         "soft_cross_entropy: targets is [2, 5], not [2, 4]", Error);
    CHECK_THROWS_WITH_AS(bench.ops.soft_cross_entropy({.logits = logits, .targets = logits, .temperature = 0,
                                                       .totals = totals}),
                         "soft_cross_entropy: temperature is 0, not above 0", Error);
    CHECK_THROWS_WITH_AS(bench.ops.soft_cross_entropy({.logits = logits, .targets = logits,
                                                       .totals = bench.zeros({3})}),
                         "soft_cross_entropy: totals is [3], not [2]", Error);
  });
}

}  // namespace engine::test::test_soft_cross_entropy
