#include "kernels/losses/segment_cross_entropy.h"

#include "kernels/losses/segment_cross_entropy_ref.h"
#include "tests/invariance.h"

namespace engine::test::test_segment_cross_entropy {

namespace {

using Reference = reference::SegmentCrossEntropy<double>;

struct Case {
  std::vector<int> begin, end;
  int64_t rows, cols;
  double scale = 1;

  Segments segments(Bench& bench) const {
    const Shape shape{static_cast<int64_t>(begin.size())};
    int longest = 0;
    for (size_t s = 0; s < begin.size(); ++s) longest = std::max(longest, end[s] - begin[s]);
    return {bench.integers(shape, begin), bench.integers(shape, end), longest};
  }
};

// Half of the targets are 0, and the others have any weight.
Tensor targets_of(Bench& bench, const Case& c) {
  std::vector<double> values(static_cast<size_t>(c.rows * c.cols));
  for (double& value : values) value = bench.random.below(2) ? 0 : static_cast<double>(bench.random.uniform());
  return bench.from(DType::f32, {c.rows, c.cols}, values);
}

// Each exponential and each term of a sum errs by some roundings, and exponents by those of logits as large as `scale`.
double error_of(const Case& c) { return epsilon_of(DType::f32) * (64 + 16 * c.scale); }

void check(Bench& bench, const Case& c) {
  CAPTURE(c.rows); CAPTURE(c.cols); CAPTURE(c.scale);
  const ArenaScope scope(bench.arena);
  const Tensor logits = bench.normal(DType::f32, {c.rows, c.cols}, c.scale, 3), targets = targets_of(bench, c);
  const auto sequences = static_cast<int64_t>(c.begin.size());
  SegmentCrossEntropyArgs args{.logits = logits, .segments = c.segments(bench), .targets = targets,
                               .totals = bench.from(DType::f32, {3}, {10, 20, 30}),
                               .row_losses = bench.unset(DType::f32, {sequences}), .gradient_scale = 0.25f,
                               .dlogits = bench.unset(DType::f32, {c.rows, c.cols})};
  Reference expected;
  expected.cols = static_cast<size_t>(c.cols);
  expected.logits = bench.values(logits);
  expected.targets = bench.values(targets);
  expected.begin = c.begin, expected.end = c.end;
  expected.gradient_scale = 0.25;
  expected.dlogits = bench.values(args.dlogits);
  expected.run();
  bench.ops.segment_cross_entropy(args);
  const double error = error_of(c);
  const std::vector<double> losses = bench.values(args.row_losses), dlogits = bench.values(args.dlogits);
  double weights = 0;
  for (double y : expected.targets) weights += y;
  for (size_t s = 0; s < losses.size(); ++s) {
    double weight = 0;
    for (size_t i = static_cast<size_t>(c.begin[s]) * expected.cols; i < static_cast<size_t>(c.end[s]) * expected.cols;
         ++i)
      weight += expected.targets[i];
    CHECK(std::abs(losses[s] - expected.row_losses[s]) <= error * (expected.row_losses[s] + weight));
  }
  const std::vector<double> totals = bench.values(args.totals);
  CHECK(std::abs(totals[0] - 10 - expected.loss) <= error * (10 + weights + expected.loss));
  CHECK(totals[1] == 20 + static_cast<double>(sequences));
  CHECK(totals[2] == 30 + expected.right);
  // A gradient is g (w p - y), where p errs relative to itself.
  for (size_t i = 0; i < dlogits.size(); ++i) {
    CAPTURE(i);
    if (std::isnan(expected.dlogits[i])) CHECK(std::isnan(dlogits[i]));  // a row of no sequence
    else CHECK(std::abs(dlogits[i] - expected.dlogits[i]) <=
               error * (std::abs(expected.dlogits[i]) + 0.5 * expected.targets[i]) + 1e-37);
  }
  // The gradient may be in place, or left out.
  SegmentCrossEntropyArgs other = args;
  other.totals = bench.zeros({3});
  other.dlogits = {};
  bench.ops.segment_cross_entropy(other);
  CHECK(bench.values(args.row_losses) == losses);
  other.dlogits = logits;
  other.row_losses = {};
  bench.ops.segment_cross_entropy(other);
  const std::vector<double> in_place = bench.values(logits);
  for (size_t i = 0; i < dlogits.size(); ++i)
    if (!std::isnan(dlogits[i])) CHECK(in_place[i] == dlogits[i]);
}

}  // namespace

TEST_CASE("segment cross entropy: the reference's gradient is the derivative of its loss") {
  Random random(5, 0);
  Reference r;
  r.cols = 2, r.gradient_scale = 1.5;
  r.begin = {0, 3, 3, 4}, r.end = {3, 3, 4, 9};
  for (int i = 0; i < 18; ++i) {
    r.logits.push_back(random.normal());
    r.targets.push_back(std::max(0.0, static_cast<double>(random.normal())));
  }
  r.dlogits.assign(18, 0);
  r.run();
  const std::vector<double> dlogits = r.dlogits;
  check_derivative(dlogits, r.logits, [&] {
    r.run();
    return r.gradient_scale * r.loss;
  });
}

TEST_CASE("segment cross entropy: ragged and empty sequences, rows of none, several columns, large logits") {
  on_every_backend([](Bench& bench) {
    for (int64_t cols : {1, 2, 3, 17}) check(bench, {{3, 0, 7, 7, 47}, {7, 1, 7, 47, 48}, 49, cols});
    check(bench, {{0, 500}, {500, 1100}, 1100, 2});
    check(bench, {{0, 384}, {384, 400}, 400, 2, 1e3});
  });
}

TEST_CASE("segment cross entropy: a row that is meant, or is not, and is ruled out; a NaN; no sequences") {
  on_every_backend([](Bench& bench) {
    const double no = -INFINITY;
    const Tensor logits = bench.from(DType::f32, {10, 1}, {0, no, no, 0, 1, NAN, 0, std::log(3.0), 1, NAN});
    const Tensor targets = bench.from(DType::f32, {10, 1}, {1, 0, 1, 0, 1, 0, 2, 0, 0, 1});
    const Tensor totals = bench.zeros({3}), losses = bench.unset(DType::f32, {5});
    const Tensor dlogits = bench.unset(DType::f32, {10, 1});
    const Case c{{0, 2, 4, 6, 8}, {2, 4, 6, 8, 10}, 10, 1};
    bench.ops.segment_cross_entropy({.logits = logits, .segments = c.segments(bench), .targets = targets,
                                     .totals = totals, .row_losses = losses, .dlogits = dlogits});
    const std::vector<double> loss = bench.values(losses), d = bench.values(dlogits);
    CHECK(bench.values(totals)[2] == 1);  // the first sequence alone; equal logits count as the first's
    CHECK(loss[0] == 0);
    CHECK(d[1] == 0);
    CHECK(loss[1] == INFINITY);
    CHECK(std::isnan(loss[2]));
    CHECK(std::isnan(loss[4]));  // a NaN is never right, wherever the order of logits puts it
    // One of two rows has a quarter of the probability and the weight 2.
    CHECK(std::abs(loss[3] - 2 * std::log(4.0)) <= error_of(c));
    CHECK(std::abs(d[6] - (2 * 0.25 - 2)) <= error_of(c));
    CHECK(std::abs(d[7] - 2 * 0.75) <= error_of(c));
    const Tensor none = bench.arena.make(DType::i32, {0}), untouched = bench.from(DType::f32, {3}, {1, 2, 3});
    bench.ops.segment_cross_entropy(
        {.logits = logits, .segments = {none, none, 0}, .targets = targets, .totals = untouched});
    CHECK(bench.values(untouched) == std::vector<double>{1, 2, 3});
  });
}

TEST_CASE("segment cross entropy: the same bits at any number of threads, and what does not fit") {
  on_every_backend([](Bench& bench) {
    Case c{{}, {}, 0, 2};
    for (int s = 0; s < (bench.is_device ? 40 : 400); ++s) {
      c.begin.push_back(static_cast<int>(c.rows));
      c.rows += static_cast<int64_t>(bench.random.below(200));
      c.end.push_back(static_cast<int>(c.rows));
    }
    const Tensor logits = bench.normal(DType::f32, {c.rows, 2}, 2), targets = targets_of(bench, c);
    const Segments segments = c.segments(bench);
    check_same_at_any_thread_count([&] {
      const ArenaScope scope(bench.arena);
      const SegmentCrossEntropyArgs args{.logits = logits, .segments = segments, .targets = targets,
                                         .totals = bench.zeros({3}),
                                         .row_losses = bench.unset(DType::f32, {segments.count()}),
                                         .dlogits = bench.unset(DType::f32, {c.rows, 2})};
      bench.ops.segment_cross_entropy(args);
      std::vector<double> all = bench.values(args.totals);
      append(all, bench.values(args.row_losses));
      append(all, bench.values(args.dlogits));
      return all;
    });
    const Tensor small = bench.zeros({4, 2}), totals = bench.zeros({3});
    const Case outside{{0, 2}, {2, 5}, 4, 2};
    CHECK_THROWS_WITH_AS((bench.ops.segment_cross_entropy({.logits = small, .segments = outside.segments(bench),
                                                           .targets = small, .totals = totals}),
                          bench.finish()),
                         bench.is_device ? "segment_cross_entropy: the last row of segment[1] is 4, not in 0 ... 3"
                                         : "segment_cross_entropy: segment 1 has the rows 2 to 5 of 4",
                         Error);
    CHECK_THROWS_WITH_AS(bench.ops.segment_cross_entropy({.logits = small, .segments = segments,
                                                          .targets = bench.zeros({4, 3}), .totals = totals}),
                         "segment_cross_entropy: targets is [4, 3], not [4, 2]", Error);
  });
}

}  // namespace engine::test::test_segment_cross_entropy
