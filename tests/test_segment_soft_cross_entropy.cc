#include "kernels/losses/segment_soft_cross_entropy.h"

#include "kernels/losses/segment_soft_cross_entropy_ref.h"
#include "kernels/losses/soft_cross_entropy_ref.h"
#include "tests/invariance.h"

namespace engine::test::test_segment_soft_cross_entropy {

namespace {

using Reference = reference::SegmentSoftCrossEntropy<double>;

struct Case {
  std::vector<int> begin, end;
  int64_t rows, cols;
  double scale = 1;
  float temperature = 2;

  Segments segments(Bench& bench) const {
    const Shape shape{static_cast<int64_t>(begin.size())};
    int longest = 0;
    for (size_t s = 0; s < begin.size(); ++s) longest = std::max(longest, end[s] - begin[s]);
    return {bench.integers(shape, begin), bench.integers(shape, end), longest};
  }
};

void check(Bench& bench, const Case& c) {
  CAPTURE(c.rows); CAPTURE(c.cols); CAPTURE(c.scale); CAPTURE(c.temperature);
  const ArenaScope scope(bench.arena);
  const SegmentSoftCrossEntropyArgs args{.logits = bench.normal(DType::f32, {c.rows, c.cols}, c.scale, 3),
                                         .segments = c.segments(bench),
                                         .targets = bench.normal(DType::f32, {c.rows, c.cols}, c.scale, -5),
                                         .temperature = c.temperature,
                                         .totals = bench.from(DType::f32, {2}, {10, 20}),
                                         .gradient_scale = 0.25f,
                                         .dlogits = bench.normal(DType::f32, {c.rows, c.cols})};
  Reference expected;
  expected.cols = static_cast<size_t>(c.cols);
  expected.logits = bench.values(args.logits);
  expected.targets = bench.values(args.targets);
  expected.begin = c.begin, expected.end = c.end;
  expected.temperature = static_cast<double>(c.temperature), expected.gradient_scale = 0.25;
  const Values before = expected.dlogits = bench.values(args.dlogits);
  expected.run();
  bench.ops.segment_soft_cross_entropy(args);
  // Exponents err by roundings of logits over the temperature, probabilities relative to themselves.
  const double t = expected.temperature, error = 8 * epsilon_of(DType::f32) * (16 + 8 * c.scale / t);
  const Values totals = bench.values(args.totals);
  const auto columns = static_cast<double>(c.begin.size()) * static_cast<double>(c.cols);
  CHECK(std::abs(totals[0] - 10 - expected.loss) <= error * (10 + t * t * columns + expected.loss));
  CHECK(totals[1] == 20 + static_cast<double>(c.begin.size()));
  Values errors;
  for (size_t i = 0; i < before.size(); ++i)
    errors.push_back(error * expected.sizes[i] + stored_error(before[i], DType::f32) +
                     stored_error(expected.dlogits[i], DType::f32));
  CHECK_ELEMENTS(bench.values(args.dlogits), expected.dlogits, errors);
  SegmentSoftCrossEntropyArgs other = args;
  other.totals = bench.from(DType::f32, {2}, {10, 20});
  other.dlogits = {};
  bench.ops.segment_soft_cross_entropy(other);
  CHECK(bench.values(other.totals) == totals);
}

}  // namespace

TEST_CASE("segment soft cross entropy: the reference's gradient is the derivative, and a row is a column of it") {
  Random random(5, 0);
  Reference r;
  r.cols = 2, r.temperature = 1.7, r.gradient_scale = 1.5;
  r.begin = {0, 3, 3, 4}, r.end = {3, 3, 4, 9};
  for (int i = 0; i < 18; ++i) {
    r.logits.push_back(static_cast<double>(random.normal()));
    r.targets.push_back(static_cast<double>(random.normal()));
  }
  r.dlogits.assign(18, 0);
  r.run();
  const Values dlogits = r.dlogits;
  check_derivative(dlogits, r.logits, [&] {
    r.run();
    return r.gradient_scale * r.loss;
  });
  reference::SoftCrossEntropy<double> row;
  row.rows = 1, row.vocabulary = 5, row.temperature = 1.7, row.gradient_scale = 1;
  Reference column;
  column.cols = 1, column.begin = {0}, column.end = {5}, column.temperature = 1.7;
  column.dlogits.assign(5, 0);
  row.logits = column.logits = {r.logits.begin(), r.logits.begin() + 5};
  row.targets = column.targets = {r.targets.begin(), r.targets.begin() + 5};
  row.run();
  column.run();
  CHECK(column.loss == doctest::Approx(row.loss));
  for (size_t i = 0; i < 5; ++i) CHECK(column.dlogits[i] == doctest::Approx(row.dlogits[i]));
}

TEST_CASE("segment soft cross entropy: ragged and empty sequences, several columns and temperatures, large logits") {
  on_every_backend([](Bench& bench) {
    for (const int64_t cols : {1, 2, 5})
      for (const float temperature : {1.0f, 3.0f})
        check(bench, {{3, 0, 7, 7, 47}, {7, 1, 7, 47, 48}, 49, cols, 1, temperature});
    check(bench, {{0, 500}, {500, 1100}, 1100, 2});
    check(bench, {{0, 384}, {384, 400}, 400, 2, 1e2});
  });
}

TEST_CASE("segment soft cross entropy: what the teacher rules out, a NaN, threads, and arguments that do not fit") {
  on_every_backend([](Bench& bench) {
    const double no = -INFINITY;
    const Case c{{0}, {3}, 3, 1};
    const auto loss_of = [&](const Values& logits, const Values& targets) {
      const Tensor totals = bench.zeros({2});
      bench.ops.segment_soft_cross_entropy({.logits = bench.from(DType::f32, {3, 1}, logits),
                                            .segments = c.segments(bench),
                                            .targets = bench.from(DType::f32, {3, 1}, targets),
                                            .totals = totals});
      return bench.values(totals)[0];
    };
    CHECK(loss_of({0, no, 0}, {1, no, 1}) == 0);
    CHECK(std::isinf(loss_of({0, no, 0}, {1, 1, 1})));
    CHECK(std::isnan(loss_of({0, NAN, 0}, {1, 1, 1})));
    const Case many{{0, 90, 300}, {90, 300, 1000}, 1000, 2};
    const Tensor logits = bench.normal(DType::f32, {1000, 2}), targets = bench.normal(DType::f32, {1000, 2});
    const Segments segments = many.segments(bench);
    check_same_at_any_thread_count([&] {
      const ArenaScope scope(bench.arena);
      const SegmentSoftCrossEntropyArgs args{.logits = logits, .segments = segments, .targets = targets,
                                             .totals = bench.zeros({2}), .dlogits = bench.zeros({1000, 2})};
      bench.ops.segment_soft_cross_entropy(args);
      Values all = bench.values(args.totals);
      append(all, bench.values(args.dlogits));
      return all;
    });
    const Tensor small = bench.zeros({4, 2}), totals = bench.zeros({2});
    const Case outside{{0, 2}, {2, 5}, 4, 2};
    CHECK_THROWS_WITH_AS((bench.ops.segment_soft_cross_entropy({.logits = small, .segments = outside.segments(bench),
                                                                .targets = small, .totals = totals}),
                          bench.finish()),
                         bench.is_device ? "segment_soft_cross_entropy: the last row of segment[1] is 4, not in 0 ... 3"
                                         : "segment_soft_cross_entropy: segment 1 has the rows 2 to 5 of 4",
                         Error);
    CHECK_THROWS_WITH_AS(bench.ops.segment_soft_cross_entropy({.logits = small, .segments = segments,
                                                               .targets = small, .temperature = 0, .totals = totals}),
                         "segment_soft_cross_entropy: temperature is 0, not above 0", Error);
  });
}

}  // namespace engine::test::test_segment_soft_cross_entropy
