#include "kernels/losses/span_mask_loss.h"

#include "kernels/losses/span_mask_loss_ref.h"
#include "tests/invariance.h"

namespace engine::test::test_span_mask_loss {

namespace {

using Reference = reference::SpanMaskLoss<double>;

struct Case {
  std::vector<int> begin, end;
  int64_t rows;
  double scale = 1;

  Segments segments(Bench& bench) const {
    const Shape shape{static_cast<int64_t>(begin.size())};
    int longest = 0;
    for (size_t s = 0; s < begin.size(); ++s) longest = std::max(longest, end[s] - begin[s]);
    return {bench.integers(shape, begin), bench.integers(shape, end), longest};
  }
};

// Makes a mask: an answer somewhere in each sequence, but in every fourth none, and in every fifth any weights. (The
// only row of a sequence certainly lies between the ends, so that any weight but 1 would make the loss infinite.)
Values mask_of(Random& random, const Case& c) {
  Values mask(static_cast<size_t>(c.rows), 0.0);
  for (size_t s = 0; s < c.begin.size(); ++s) {
    const auto rows = static_cast<uint32_t>(c.end[s] - c.begin[s]);
    if (rows == 0 || s % 4 == 3) continue;
    const auto first = random.below(rows), last = first + random.below(rows - first);
    for (uint32_t i = 0; i < rows; ++i)
      mask[static_cast<size_t>(c.begin[s]) + i] = s % 5 == 4 && rows > 1 ? static_cast<double>(random.uniform())
                                                                         : first <= i && i <= last;
  }
  return mask;
}

Reference reference_of(const Bench& bench, const Case& c, const SpanMaskLossArgs& args) {
  Reference expected;
  expected.logits = bench.values(args.logits);
  expected.mask = bench.values(args.mask);
  expected.begin = c.begin, expected.end = c.end;
  expected.weight = static_cast<double>(args.weight);
  expected.gradient_scale = static_cast<double>(args.gradient_scale);
  expected.dlogits = bench.values(args.dlogits);
  expected.run();
  return expected;
}

// A logarithm errs by roundings of its size, of the logits' size at the most and that of log n, one for each of n rows
// that are added up.
double error_of(const Case& c) {
  int longest = 0;
  for (size_t s = 0; s < c.begin.size(); ++s) longest = std::max(longest, c.end[s] - c.begin[s]);
  return epsilon_of(DType::f32) * (64 + 16 * c.scale + longest);
}

void check(Bench& bench, const Case& c) {
  CAPTURE(c.rows); CAPTURE(c.scale);
  const ArenaScope scope(bench.arena);
  const SpanMaskLossArgs args{.logits = bench.normal(DType::f32, {c.rows, 2}, c.scale, 3),
                              .segments = c.segments(bench),
                              .mask = bench.from(DType::f32, {c.rows}, mask_of(bench.random, c)),
                              .weight = 0.75f,
                              .total = bench.from(DType::f32, {1}, {5}),
                              .gradient_scale = 0.25f,
                              .dlogits = bench.normal(DType::f32, {c.rows, 2})};
  const Reference expected = reference_of(bench, c, args);
  const Values before = bench.values(args.dlogits);
  bench.ops.span_mask_loss(args);
  const double error = error_of(c), total = bench.values(args.total)[0];
  REQUIRE(std::isfinite(expected.total));
  CHECK(std::abs(total - 5 - expected.total) <=
        error * (5 + static_cast<double>(c.begin.size()) + expected.total));
  Values errors;
  for (size_t i = 0; i < before.size(); ++i)
    errors.push_back(error * expected.sizes[i] + stored_error(before[i], DType::f32) +
                     stored_error(expected.dlogits[i], DType::f32) + 1e-37);
  CHECK_ELEMENTS(bench.values(args.dlogits), expected.dlogits, errors);
  // The loss has the same bits without a gradient.
  SpanMaskLossArgs other = args;
  other.total = bench.from(DType::f32, {1}, {5});
  other.dlogits = {};
  bench.ops.span_mask_loss(other);
  CHECK(bench.values(other.total)[0] == total);
}

}  // namespace

TEST_CASE("span mask loss: the reference is the formula, and its gradient is the derivative") {
  Random random(5, 0);
  Reference r;
  r.weight = 0.5, r.gradient_scale = 1.5;
  r.begin = {0, 3, 3, 4, 9}, r.end = {3, 3, 4, 9, 12};
  for (int i = 0; i < 24; ++i) r.logits.push_back(static_cast<double>(random.normal()));
  r.mask = {0, 1, 1, 1, 0, 0.5, 1, 0.25, 0, 0, 0, 0};  // the last sequence has no answer
  r.dlogits.assign(24, 0);
  r.run();
  const Values dlogits = r.dlogits;
  check_derivative(dlogits, r.logits, [&] {
    r.run();
    return r.gradient_scale * r.total;
  });
  for (size_t i = 18; i < 24; ++i) CHECK(dlogits[i] == 0);
  // Equal logits: rows 1 and 2 of three lie between the ends with the probabilities 2/3 2/3 and 1 1/3, row 0 with 1/3.
  r.logits.assign(24, 0);
  r.begin = {0}, r.end = {3};
  r.run();
  CHECK(r.total == doctest::Approx(0.5 * -(std::log(2.0 / 3) + std::log(4.0 / 9) + std::log(1.0 / 3)) / 3));
}

TEST_CASE("span mask loss: ragged and empty sequences, sequences without an answer, logits far apart") {
  on_every_backend([](Bench& bench) {
    check(bench, {{3, 0, 7, 7, 47, 48, 90}, {7, 1, 7, 47, 48, 90, 200}, 201});
    check(bench, {{0, 500}, {500, 1100}, 1100});
    check(bench, {{0, 384, 400}, {384, 400, 463}, 463, 10});
    check(bench, {{0, 64, 129}, {64, 129, 193}, 193, 50});  // products of probabilities underflow f32
  });
}

TEST_CASE("span mask loss: a loss that is 0, one that is huge, one that is infinite, and a NaN") {
  on_every_backend([](Bench& bench) {
    const Case c{{0}, {4}, 4};
    const auto run = [&](const Values& logits, const Values& mask, const Tensor& dlogits) {
      const Tensor total = bench.zeros({1});
      bench.ops.span_mask_loss({.logits = bench.from(DType::f32, {4, 2}, logits),
                                .segments = c.segments(bench),
                                .mask = bench.from(DType::f32, {4}, mask),
                                .total = total,
                                .dlogits = dlogits});
      return bench.values(total)[0];
    };
    const auto gradients = [&] { return bench.zeros({4, 2}); };
    // The ends are certain: row 1 and row 2. Neither the loss nor a gradient is anything but 0 where that is right.
    const Values certain{0, 0, 300, 0, 0, 300, 0, 0};
    Tensor d = gradients();
    CHECK(run(certain, {0, 1, 1, 0}, d) == 0);
    for (const double value : bench.values(d)) CHECK(value == 0);
    // Row 0 would need a beginning that is e^300 times less likely, and row 3 such an end.
    d = gradients();
    CHECK(run(certain, {1, 1, 1, 1}, d) == doctest::Approx(150));
    Values expected{-0.25, 0, 0.25, 0, 0, 0.25, 0, -0.25};
    CHECK_ELEMENTS(bench.values(d), expected, Values(8, 1e-5));
    // They are likely, and wrong: the loss is that of the rows between.
    d = gradients();
    CHECK(run(certain, {1, 0, 0, 0}, d) > 150);
    for (const double value : bench.values(d)) CHECK(std::isfinite(value));
    CHECK(std::isinf(run({-INFINITY, 0, 0, 0, 0, 0, 0, 0}, {1, 0, 0, 0}, {})));
    CHECK(std::isnan(run({NAN, 0, 0, 0, 0, 0, 0, 0}, {0, 1, 0, 0}, {})));
    CHECK(std::isnan(run({0, 0, 0, NAN, 0, 0, 0, 0}, {0, 1, 0, 0}, {})));
    CHECK(std::isnan(run({0, 0, 0, 0, 0, 0, NAN, 0}, {0, 1, 0, 0}, {})));
  });
}

TEST_CASE("span mask loss: the same bits at any number of threads, no sequences, and arguments that do not fit") {
  on_every_backend([](Bench& bench) {
    Case c{{}, {}, 0};
    for (int s = 0; s < 40; ++s) {
      c.begin.push_back(static_cast<int>(c.rows));
      c.rows += static_cast<int64_t>(bench.random.below(200));
      c.end.push_back(static_cast<int>(c.rows));
    }
    const Tensor logits = bench.normal(DType::f32, {c.rows, 2}, 2);
    const Tensor mask = bench.from(DType::f32, {c.rows}, mask_of(bench.random, c));
    const Segments segments = c.segments(bench);
    check_same_at_any_thread_count([&] {
      const ArenaScope scope(bench.arena);
      const SpanMaskLossArgs args{.logits = logits, .segments = segments, .mask = mask, .total = bench.zeros({1}),
                                  .dlogits = bench.zeros({c.rows, 2})};
      bench.ops.span_mask_loss(args);
      Values all = bench.values(args.total);
      append(all, bench.values(args.dlogits));
      return all;
    });
    const Tensor none = bench.arena.make(DType::i32, {0}), total = bench.zeros({1});
    bench.ops.span_mask_loss({.logits = logits, .segments = {none, none, 0}, .mask = mask, .total = total});
    CHECK(bench.values(total)[0] == 0);
    const Tensor small = bench.zeros({4, 2}), ones = bench.from(DType::f32, {4}, {1, 1, 1, 1});
    const Case outside{{0, 2}, {2, 5}, 4};
    CHECK_THROWS_WITH_AS((bench.ops.span_mask_loss({.logits = small, .segments = outside.segments(bench),
                                                    .mask = ones, .total = total}),
                          bench.finish()),
                         bench.is_device ? "span_mask_loss: the last row of segment[1] is 4, not in 0 ... 3"
                                         : "span_mask_loss: segment 1 has the rows 2 to 5 of 4",
                         Error);
    CHECK_THROWS_WITH_AS(bench.ops.span_mask_loss({.logits = bench.zeros({4, 3}), .segments = segments, .mask = ones,
                                                   .total = total}),
                         "span_mask_loss: logits is [4, 3], not [4, 2]", Error);
  });
}

}  // namespace engine::test::test_span_mask_loss
