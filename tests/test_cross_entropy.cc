#include "kernels/losses/cross_entropy.h"

#include "kernels/losses/cross_entropy_ref.h"
#include "tests/invariance.h"

namespace engine::test::test_cross_entropy {

namespace {

using Reference = reference::CrossEntropy<double>;

struct Case {
  int64_t rows, cols, vocabulary;
  bool bias = false, weighted = false, ignored = false, row_losses = true, penalised = false;
  float smoothing = 0;
  double scale = 1;  // scale of the logits
  double bias_mean = 0;
};

// The arguments of a case, and the reference with the same values.
struct Problem {
  CrossEntropyArgs args;
  Reference expected;
};

// Makes values that bf16 holds exactly, so that under bf16 compute only dlogits are rounded.
Tensor exact(Bench& bench, Shape shape, double scale) {
  return bench.from(DType::f32, shape, bench.values(bench.normal(DType::bf16, shape, scale)));
}

// Returns a penalty for every second row.
std::vector<double> every_second(int64_t rows) {
  std::vector<double> result;
  for (int64_t r = 0; r < rows; ++r) result.push_back(r % 2 ? 0.5 : 0);
  return result;
}

Problem problem_of(Bench& bench, const Case& c) {
  Problem p;
  const double weight_scale = c.scale / std::sqrt(static_cast<double>(c.cols));
  std::vector<int> labels;
  for (int64_t r = 0; r < c.rows; ++r)
    labels.push_back(c.ignored && r % 3 == 1
                         ? ignored_label
                         : static_cast<int>(bench.random.below(static_cast<uint32_t>(c.vocabulary))));
  p.args = {.x = bench.normal(bench.compute, {c.rows, c.cols}),
            .weight = exact(bench, {c.vocabulary, c.cols}, weight_scale),
            .bias = c.bias ? bench.normal(DType::f32, {c.vocabulary}, 1, c.bias_mean) : Tensor{},
            .labels = bench.integers({c.rows}, labels),
            .row_weights = c.weighted ? bench.normal(DType::f32, {c.rows}, 0.3, 1.2) : Tensor{},
            .penalties = c.penalised ? bench.from(DType::f32, {c.rows}, every_second(c.rows)) : Tensor{},
            .penalised_token = c.penalised ? static_cast<int32_t>(c.vocabulary / 2) : -1,
            .label_smoothing = c.smoothing,
            .compute = bench.compute,
            .totals = bench.from(DType::f32, {3}, {10, 20, 30}),
            .row_losses = c.row_losses ? bench.unset(DType::f32, {c.rows}) : Tensor{},
            .gradient_scale = 0.25f,
            .dx = bench.unset(bench.compute, {c.rows, c.cols}),
            .dweight = bench.normal(DType::f32, {c.vocabulary, c.cols}, 0.1),
            .dbias = c.bias ? bench.normal(DType::f32, {c.vocabulary}, 0.1) : Tensor{}};
  if (c.ignored)  // an ignored row has no influence
    bench.fill(p.args.x.row_range(1, 2), std::vector<double>(static_cast<size_t>(c.cols), NAN));
  Reference& e = p.expected;
  e.rows = static_cast<size_t>(c.rows);
  e.cols = static_cast<size_t>(c.cols);
  e.vocabulary = static_cast<size_t>(c.vocabulary);
  e.x = bench.values(p.args.x);
  e.weight = bench.values(p.args.weight);
  if (c.bias) e.bias = bench.values(p.args.bias);
  e.labels = labels;
  if (c.weighted) e.row_weights = bench.values(p.args.row_weights);
  if (c.penalised) e.penalties = every_second(c.rows), e.penalised_token = p.args.penalised_token;
  e.smoothing = static_cast<double>(c.smoothing);
  e.gradient_scale = 0.25;
  e.dweight = bench.values(p.args.dweight);
  if (c.bias) e.dbias = bench.values(p.args.dbias);
  e.run();
  return p;
}

// The errors of each result. A logit is a sum of C products and a bias. Its error is the relative error of its
// probability, and adds to that of the row's log-sum-exp. Under bf16 compute dlogits are rounded once more.
struct CrossEntropyErrors {
  Values row_losses, dx, dweight, dbias;

  // dweight_before and dbias_before are accumulated onto.
  CrossEntropyErrors(const Reference& e, const Values& dweight_before, const Values& dbias_before, DType compute)
      : row_losses(e.rows), dx(e.rows * e.cols), dweight(dweight_before.size()), dbias(dbias_before.size()) {
    const int64_t cols = static_cast<int64_t>(e.cols), rows = static_cast<int64_t>(e.rows);
    const double of_logits = sum_error(cols), of_vocabulary = sum_error(static_cast<int64_t>(e.vocabulary));
    for (size_t i = 0; i < dweight.size(); ++i) dweight[i] = sum_error(rows) * std::abs(dweight_before[i]);
    for (size_t i = 0; i < dbias.size(); ++i) dbias[i] = sum_error(rows) * std::abs(dbias_before[i]);
    for (size_t r = 0; r < e.rows; ++r) {
      if (e.labels[r] == ignored_label) continue;
      const size_t label = static_cast<size_t>(e.labels[r]);
      const double w = e.row_weights.empty() ? 1 : std::abs(e.row_weights[r]);
      const double tokens = static_cast<double>(e.vocabulary);
      const Values l = e.logits(r);
      double highest = *std::max_element(l.begin(), l.end()), sum = 0, lse_error = 0, mean_error = 0, mean_size = 0;
      for (double logit : l) sum += std::exp(logit - highest);
      const double lse = highest + std::log(sum);
      Values p, logit_errors;
      for (size_t v = 0; v < e.vocabulary; ++v) {
        double size = 1 + std::abs(lse) + (e.bias.empty() ? 0 : std::abs(e.bias[v]));
        for (size_t c = 0; c < e.cols; ++c) size += std::abs(e.x[r * e.cols + c] * e.weight[v * e.cols + c]);
        logit_errors.push_back(of_logits * size);
        p.push_back(std::exp(l[v] - lse));
        lse_error += p[v] * logit_errors[v];
        mean_error += logit_errors[v] / tokens;
        mean_size += std::abs(l[v]) / tokens;
      }
      lse_error += of_vocabulary;
      const double u = e.penalties.empty() ? 0 : e.penalties[r];
      const size_t t = u != 0 ? static_cast<size_t>(e.penalised_token) : 0;
      // The probability of the others errs as the token's does, which is `ratio` times as large.
      const double rest = std::max(1 - p[t], static_cast<double>(least_rest)), ratio = p[t] / rest;
      const double of_rest = ratio * (lse_error + logit_errors[t] + 4 * of_vocabulary) + of_vocabulary / rest;
      row_losses[r] = u * (of_rest + of_vocabulary * std::abs(std::log(rest))) +
                      w * (lse_error + (1 - e.smoothing) * logit_errors[label] +
                           e.smoothing * (mean_error + of_vocabulary * mean_size)) +
                      stored_error(e.row_losses[r], DType::f32);
      for (size_t v = 0; v < e.vocabulary; ++v) {
        const double target = (v == label ? 1 - e.smoothing : 0.0) + e.smoothing / tokens;
        // Probabilities below the smallest number of f32 may be 0.
        const double size = std::abs(e.gradient_scale), slope = size * u * ratio;
        const double scale = size * w + slope, dl = size * w * (p[v] - target) + slope * ((v == t) - p[v]);
        const double error =
            scale * ((p[v] + 1e-37) * (logit_errors[v] + lse_error + of_vocabulary) + 1e-37 + sum_error(1) * target) +
            stored_error(dl, compute) +
            slope * ((v == t) + p[v]) * (of_rest + logit_errors[t] + lse_error + of_vocabulary);
        if (!dbias.empty()) dbias[v] += error + sum_error(rows) * std::abs(dl);
        for (size_t c = 0; c < e.cols; ++c) {
          const double x = std::abs(e.x[r * e.cols + c]), weight = std::abs(e.weight[v * e.cols + c]);
          dx[r * e.cols + c] += (error + of_vocabulary * std::abs(dl)) * weight;
          dweight[v * e.cols + c] += (error + sum_error(rows) * std::abs(dl)) * x;
        }
      }
    }
    for (size_t i = 0; i < dx.size(); ++i) dx[i] += stored_error(e.dx[i], compute);
  }
};

void check(Bench& bench, const Case& c) {
  CAPTURE(c.rows); CAPTURE(c.cols); CAPTURE(c.vocabulary); CAPTURE(c.bias); CAPTURE(c.weighted); CAPTURE(c.ignored);
  CAPTURE(c.smoothing);
  const Problem p = problem_of(bench, c);
  const Reference& e = p.expected;
  const CrossEntropyErrors errors(e, bench.values(p.args.dweight), c.bias ? bench.values(p.args.dbias) : Values(),
                                  bench.compute);
  bench.ops.cross_entropy(p.args);
  if (c.row_losses) CHECK_ELEMENTS(bench.values(p.args.row_losses), e.row_losses, errors.row_losses);
  const std::vector<double> totals = bench.values(p.args.totals);
  double loss_error = sum_error(1) * 10;
  for (size_t r = 0; r < e.rows; ++r) loss_error += errors.row_losses[r] + sum_error(1) * std::abs(e.row_losses[r]);
  CHECK(std::abs(totals[0] - (10 + e.loss)) <= loss_error);
  CHECK(std::abs(totals[1] - (20 + e.weights)) <= 2 * epsilon_of(DType::f32) * (20 + e.weights));
  CHECK(totals[2] == 30 + e.correct);
  CHECK_ELEMENTS(bench.values(p.args.dx), e.dx, errors.dx);
  CHECK_ELEMENTS(bench.values(p.args.dweight), e.dweight, errors.dweight);
  if (c.bias) CHECK_ELEMENTS(bench.values(p.args.dbias), e.dbias, errors.dbias);
}

}  // namespace

TEST_CASE("cross_entropy: the reference's gradients are the derivatives of its loss") {
  Random random(5, 0);
  Reference c;
  c.rows = 4, c.cols = 3, c.vocabulary = 5, c.smoothing = 0.1, c.gradient_scale = 1.5;
  c.labels = {2, ignored_label, 0, 4};
  c.penalties = {0.7, 0, 0, 1.2}, c.penalised_token = 2;
  for (auto [values, count] : {std::pair{&c.x, 12}, {&c.weight, 15}, {&c.bias, 5}, {&c.row_weights, 4}})
    for (int i = 0; i < count; ++i) values->push_back(0.7 * random.normal() + 0.2);
  c.run();
  const std::vector<double> dx = c.dx, dweight = c.dweight, dbias = c.dbias;
  const auto loss = [&] {
    c.run();
    return c.gradient_scale * c.loss;
  };
  check_derivative(dx, c.x, loss);
  check_derivative(dweight, c.weight, loss);
  check_derivative(dbias, c.bias, loss);
}

TEST_CASE("cross_entropy: every choice of optional arguments") {
  on_every_backend([](Bench& bench) {
    for (int choice = 0; choice < 64; ++choice)
      check(bench, {.rows = 9,
                    .cols = 17,
                    .vocabulary = 33,
                    .bias = (choice & 1) != 0,
                    .weighted = (choice & 2) != 0,
                    .ignored = (choice & 4) != 0,
                    .row_losses = (choice & 8) != 0,
                    .penalised = (choice & 32) != 0,
                    .smoothing = choice & 16 ? 0.1f : 0.0f});
  });
}

TEST_CASE("cross_entropy: odd shapes, several chunks, large logits") {
  on_every_backend([](Bench& bench) {
    for (int64_t vocabulary : {1, 2, 3, 65, 100, 1031})
      for (int64_t cols : {1, 3, 33, 64})
        check(bench,
              {.rows = 21, .cols = cols, .vocabulary = vocabulary, .bias = true, .ignored = true, .smoothing = 0.2f});
    check(bench, {.rows = 1, .cols = 8, .vocabulary = 19});
    check(bench, {.rows = 9, .cols = 32, .vocabulary = 100, .scale = 60});
    // These have two chunks, several with ignored rows (whose weights are packed under bf16), and one of three parts.
    check(bench, {.rows = 2100, .cols = 5, .vocabulary = 33, .bias = true, .weighted = true, .smoothing = 0.1f});
    check(bench, {.rows = 12500, .cols = 5, .vocabulary = 19, .bias = true, .weighted = true, .ignored = true});
    const int64_t long_rows = bench.is_device ? 20 : 300;
    check(bench, {.rows = long_rows, .cols = 5, .vocabulary = 60000, .bias = true, .smoothing = 0.1f});
  });
}

// The exponential of 0 minus such a logit is infinite, so that what lies behind a row's end must not be taken for one.
TEST_CASE("cross_entropy: logits far below 0") {
  on_every_backend([](Bench& bench) {
    for (int64_t vocabulary : {13, 37, 64})
      check(bench, {.rows = 11, .cols = 24, .vocabulary = vocabulary, .bias = true, .bias_mean = -300});
  });
}

TEST_CASE("cross_entropy: a weight that is bf16 gives the bits of its values in f32") {
  on_every_backend([](Bench& bench) {
    for (int64_t cols : {16, 17}) {
      CAPTURE(cols);
      const Problem p = problem_of(bench, {.rows = 30, .cols = cols, .vocabulary = 70, .bias = true, .ignored = true});
      const auto results = [&](const Tensor& weight) {
        CrossEntropyArgs args = p.args;
        args.weight = weight;
        args.totals = bench.zeros({3});
        args.dweight = bench.zeros({70, cols});
        args.dbias = bench.zeros({70});
        bench.ops.cross_entropy(args);
        std::vector<double> all;
        for (const Tensor& result : {args.totals, args.row_losses, args.dx, args.dweight, args.dbias})
          append(all, bench.values(result));
        return all;
      };
      CHECK(results(bench.from(DType::bf16, {70, cols}, bench.values(p.args.weight))) == results(p.args.weight));
    }
  });
}

TEST_CASE("cross_entropy: without dx the same losses and no gradient") {
  on_every_backend([](Bench& bench) {
    const Problem p = problem_of(bench, {.rows = 30, .cols = 16, .vocabulary = 70, .bias = true, .smoothing = 0.1f});
    const std::vector<double> dweight = bench.values(p.args.dweight), dbias = bench.values(p.args.dbias);
    CrossEntropyArgs evaluation = p.args;
    evaluation.dx = {};
    evaluation.totals = bench.zeros({3});
    bench.ops.cross_entropy(evaluation);
    CHECK(bench.values(p.args.dweight) == dweight);
    CHECK(bench.values(p.args.dbias) == dbias);
    const std::vector<double> losses = bench.values(p.args.row_losses), totals = bench.values(evaluation.totals);
    CrossEntropyArgs training = p.args;
    training.totals = bench.zeros({3});
    bench.ops.cross_entropy(training);
    CHECK(bench.values(p.args.row_losses) == losses);
    CHECK(bench.values(training.totals) == totals);
    training.dweight = training.dbias = {};  // the projection does not learn
    bench.ops.cross_entropy(training);
    CHECK_ELEMENTS(bench.values(p.args.dx), p.expected.dx,
                   CrossEntropyErrors(p.expected, dweight, dbias, bench.compute).dx);
  });
}

TEST_CASE("cross_entropy: the lowest token among equals counts, and no scored rows give nothing") {
  on_every_backend([](Bench& bench) {
    // All logits are equal, so token 0 is the largest.
    const Tensor x = bench.zeros({3, 4}), weight = exact(bench, {40, 4}, 1), totals = bench.zeros({3});
    bench.ops.cross_entropy({.x = x,
                             .weight = weight,
                             .labels = bench.integers({3}, {0, 1, 39}),
                             .compute = bench.compute,
                             .totals = totals});
    CHECK(bench.values(totals)[2] == 1);
    CHECK(std::abs(bench.values(totals)[0] - 3 * std::log(40.0)) <= 1e-5);
    const Tensor losses = bench.unset(DType::f32, {3}), dx = bench.unset(bench.compute, {3, 4}),
                 dweight = bench.zeros({40, 4});
    bench.ops.cross_entropy({.x = x,
                             .weight = weight,
                             .labels = bench.integers({3}, {-100, -100, -100}),
                             .compute = bench.compute,
                             .totals = totals,
                             .row_losses = losses,
                             .dx = dx,
                             .dweight = dweight});
    CHECK(bench.values(losses) == std::vector<double>(3, 0.0));
    CHECK(bench.values(dx) == std::vector<double>(12, 0.0));
    CHECK(bench.values(totals)[1] == 3);
    const Tensor none = bench.arena.make(bench.compute, {0, 4}), no_labels = bench.arena.make(DType::i32, {0});
    bench.ops.cross_entropy({.x = none,
                             .weight = weight,
                             .labels = no_labels,
                             .compute = bench.compute,
                             .totals = totals,
                             .dx = none,
                             .dweight = dweight});
    CHECK(bench.values(totals)[1] == 3);
  });
}

TEST_CASE("cross_entropy: a NaN in a row makes its loss, the total and the gradients NaN") {
  on_every_backend([](Bench& bench) {
    for (const size_t row : {2, 3}) {  // the second one has a penalty
      const Problem p = problem_of(bench, {.rows = 5, .cols = 8, .vocabulary = 20, .penalised = true});
      bench.fill(p.args.x.reshaped({40, 1}).row_range(static_cast<int64_t>(row) * 8, static_cast<int64_t>(row) * 8 + 1),
                 {NAN});
      bench.ops.cross_entropy(p.args);
      const std::vector<double> losses = bench.values(p.args.row_losses);
      for (size_t r = 0; r < 5; ++r) CHECK(std::isnan(losses[r]) == (r == row));
      CHECK(std::isnan(bench.values(p.args.totals)[0]));
      CHECK(std::isnan(bench.values(p.args.dx)[row * 8 + 1]));
      CHECK(std::isnan(bench.values(p.args.dweight)[0]));
    }
  });
}

TEST_CASE("cross_entropy: the same bits at any number of threads") {
  on_every_backend([](Bench& bench) {
    for (int64_t vocabulary : {64, 10007}) {
      const int64_t rows = (vocabulary == 64 ? 5000 : 70) / (bench.is_device ? 10 : 1);
      const Problem p = problem_of(
          bench,
          {.rows = rows, .cols = 8, .vocabulary = vocabulary, .bias = true, .smoothing = 0.1f});
      check_same_at_any_thread_count([&] {
        ArenaScope scope(bench.arena);
        CrossEntropyArgs args = p.args;
        args.totals = bench.zeros({3});
        args.dweight = bench.zeros({vocabulary, 8});
        args.dbias = bench.zeros({vocabulary});
        bench.ops.cross_entropy(args);
        std::vector<double> all;
        for (const Tensor& result : {args.totals, args.row_losses, args.dx, args.dweight, args.dbias})
          append(all, bench.values(result));
        return all;
      });
    }
  });
}

TEST_CASE("cross_entropy: the same bits wherever x lies") {
  on_every_backend([](Bench& bench) {
    const Problem p = problem_of(bench, {.rows = 9, .cols = 24, .vocabulary = 30, .ignored = true});
    const auto results_behind = [&](int64_t elements) {
      CrossEntropyArgs args = p.args;
      args.x = copy_behind(bench, p.args.x, elements);
      args.dweight = bench.zeros({30, 24});
      bench.ops.cross_entropy(args);
      std::vector<double> all = bench.values(args.row_losses);
      append(all, bench.values(args.dx));
      append(all, bench.values(args.dweight));
      return all;
    };
    CHECK(results_behind(0) == results_behind(1));
  });
}

TEST_CASE("cross_entropy: a label that is no token is an error that names its row") {
  on_every_backend([](Bench& bench) {
    const Tensor x = bench.zeros({2, 4}), weight = bench.zeros({7, 4}), totals = bench.zeros({3});
    CHECK_THROWS_WITH_AS(
        (bench.ops.cross_entropy({.x = x, .weight = weight, .labels = bench.integers({2}, {0, 7}), .totals = totals}),
         bench.finish()),
        "cross_entropy: labels[1] is 7, neither in 0 ... 6 nor -100", Error);
    CHECK_THROWS_WITH_AS(
        (bench.ops.cross_entropy({.x = x, .weight = weight, .labels = bench.integers({2}, {-1, 0}), .totals = totals}),
         bench.finish()),
        "cross_entropy: labels[0] is -1, neither in 0 ... 6 nor -100", Error);
    CHECK_THROWS_WITH_AS(bench.ops.cross_entropy({.x = x, .weight = weight, .labels = bench.integers({2}, {1, 0}),
                                                  .label_smoothing = 1.5f, .totals = totals}),
                         "cross_entropy: label_smoothing is 1.5, not in 0 ... 1", Error);
  });
}

}  // namespace engine::test::test_cross_entropy
