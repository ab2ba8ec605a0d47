#include "kernels/attention/rotary.h"

#include "kernels/attention/rotary_ref.h"
#include "tests/invariance.h"

namespace engine::test::test_rotary {

namespace {

using Reference = reference::Rotary<double>;

struct Shapes {
  int64_t rows, heads, head_width, dims, margin;  // margin: columns before and behind the heads
};

// Some are vectors on every instruction set and device, some are not, and some are partly.
constexpr Shapes all_shapes[] = {{5, 2, 8, 2, 0},    {1, 1, 2, 2, 1},    {33, 3, 12, 6, 5},  {7, 4, 64, 16, 64},
                                 {40, 3, 64, 64, 8}, {3, 2, 128, 96, 0}, {9, 5, 20, 18, 20}, {300, 12, 16, 16, 16}};
constexpr int most_positions = 50;

Reference reference_of(const Shapes& s, const std::vector<int>& positions, float base) {
  return {.cols = static_cast<size_t>(s.heads * s.head_width + 2 * s.margin),
          .begin = static_cast<size_t>(s.margin),
          .heads = static_cast<size_t>(s.heads),
          .head_width = static_cast<size_t>(s.head_width),
          .dims = static_cast<size_t>(s.dims),
          .base = static_cast<double>(base),
          .positions = positions};
}

// A turned pair errs by the roundings of its two terms, by those of the table, and by those of the angle: of the
// frequency, which a library's power gives to a few, and of its product with the position.
Values errors_of(const Reference& reference, const Values& x, const Values& expected, DType stored) {
  Values sizes = magnitudes(expected);
  Values errors = sum_errors(expected, sizes, 2, stored);
  for (size_t i = 0; i < x.size(); ++i) {
    if (expected[i] == x[i]) errors[i] = 0;  // not turned
    const size_t row = i / reference.cols, in_head = (i % reference.cols - reference.begin) % reference.head_width;
    if (errors[i] == 0 || in_head >= reference.dims) continue;
    const size_t pairs = reference.dims / 2, other = in_head < pairs ? i + pairs : i - pairs;
    const double size = std::abs(x[i]) + std::abs(x[other]);
    errors[i] += (4 + 8 * reference.positions[row]) * epsilon_of(DType::f32) * size;
  }
  return errors;
}

std::vector<int> random_positions(Bench& bench, int64_t rows) {
  std::vector<int> positions(static_cast<size_t>(rows));
  for (int& position : positions) position = static_cast<int>(bench.random.below(most_positions));
  positions.back() = most_positions - 1;
  return positions;
}

Tensor table_of(Bench& bench, int64_t positions, int64_t dims, float base) {
  std::vector<float> table(static_cast<size_t>(positions * dims));
  rotary_table(table.data(), positions, dims, base);
  return bench.from(DType::f32, {positions, dims}, {table.begin(), table.end()});
}

}  // namespace

TEST_CASE("rotary: the reference's gradients are the derivatives, and the products depend on distances alone") {
  Random random(4, 0);
  const Reference reference{
      .cols = 11, .begin = 1, .heads = 2, .head_width = 5, .dims = 4, .base = 100, .positions = {3, 0, 7}};
  Values x(33), dy(33);
  for (Values* values : {&x, &dy})
    for (double& value : *values) value = static_cast<double>(random.normal());
  const auto loss = [&] {
    Values y = x;
    reference.turn(y);
    return dot(y, dy);
  };
  Values dx = dy;
  reference.turn(dx, -1);
  check_derivative(dx, x, loss);

  const auto product = [&](int query, int key) {
    Reference one{.cols = 4, .heads = 1, .head_width = 4, .dims = 4, .positions = {query}};
    Values q(x.begin(), x.begin() + 4), k(dy.begin(), dy.begin() + 4);
    one.turn(q);
    one.positions = {key};
    one.turn(k);
    return dot(q, k);
  };
  CHECK(std::abs(product(9, 4) - product(25, 20)) < 1e-12);
  CHECK(std::abs(product(9, 4) - product(9, 5)) > 1e-3);
}

TEST_CASE("rotary: forward and backward are those of the reference, in some columns of a matrix, at any shape") {
  on_every_backend([](Bench& bench) {
    for (const Shapes& s : all_shapes)
      for (const float base : {10000.0f, 17.0f}) {
        CAPTURE(s.head_width); CAPTURE(s.dims); CAPTURE(base);
        const ArenaScope scope(bench.arena);
        const std::vector<int> positions = random_positions(bench, s.rows);
        const Tensor index = bench.integers({s.rows}, positions), table = table_of(bench, most_positions, s.dims, base);
        const Reference reference = reference_of(s, positions, base);
        const Tensor x = bench.normal(bench.compute, {s.rows, static_cast<int64_t>(reference.cols)});
        for (const bool backward : {false, true}) {
          const Values before = bench.values(x);
          Values expected = before;
          reference.turn(expected, backward ? -1 : 1);
          bench.ops.rotary({.x = {x, s.margin, s.heads * s.head_width},
                            .positions = index,
                            .table = table,
                            .heads = s.heads,
                            .backward = backward});
          const Values actual = bench.values(x);
          CHECK_ELEMENTS(actual, expected, errors_of(reference, before, expected, bench.compute));
          CHECK(actual != before);
        }
      }
  });
}

TEST_CASE("rotary: position 0 keeps the bits, rows of no tokens are none, and threads change nothing") {
  on_every_backend([](Bench& bench) {
    const Tensor table = table_of(bench, most_positions, 8, 10000);
    const Tensor x = bench.normal(bench.compute, {3, 24}), zeros = bench.integers({3}, {0, 0, 0});
    const Values before = bench.values(x);
    bench.ops.rotary({.x = x, .positions = zeros, .table = table, .heads = 3});
    CHECK(bench.values(x) == before);
    const Tensor none = bench.arena.make(DType::i32, {0}), empty = bench.arena.make(bench.compute, {0, 24});
    bench.ops.rotary({.x = empty, .positions = none, .table = table, .heads = 3});
    const int64_t rows = 2500;
    const Tensor long_x = bench.unset(bench.compute, {rows, 24});
    const Tensor index = bench.integers({rows}, random_positions(bench, rows));
    const Values numbers = bench.values(bench.normal(DType::f32, {rows, 24}));
    check_same_at_any_thread_count([&] {
      bench.fill(long_x, numbers);
      bench.ops.rotary({.x = long_x, .positions = index, .table = table, .heads = 3});
      return bench.values(long_x);
    });
  });
}

TEST_CASE("rotary: matrices that vectors are not aligned to") {
  on_every_backend([](Bench& bench) {
    const Tensor table = table_of(bench, most_positions, 16, 10000);
    const Tensor x = bench.normal(bench.compute, {4, 64}), index = bench.integers({4}, {0, 9, 3, 49});
    const Tensor moved = copy_behind(bench, x, 1);
    bench.ops.rotary({.x = x, .positions = index, .table = table, .heads = 2});
    bench.ops.rotary({.x = moved, .positions = index, .table = table, .heads = 2});
    CHECK_ELEMENTS(bench.values(moved), bench.values(x), few_roundings(bench.values(x), bench.compute));
  });
}

TEST_CASE("rotary: what does not fit is an error that names it") {
  on_every_backend([](Bench& bench) {
    const Tensor table = table_of(bench, 6, 4, 10000), x = bench.normal(bench.compute, {2, 12});
    const Tensor good = bench.integers({2}, {0, 5}), large = bench.integers({2}, {0, 6}),
                 negative = bench.integers({2}, {-1, 0});
    const Values before = bench.values(x);
    CHECK_THROWS_WITH_AS((bench.ops.rotary({.x = x, .positions = large, .table = table, .heads = 3}), bench.finish()),
                         "rotary: positions[1] is 6, not in 0 ... 5", Error);
    CHECK_THROWS_WITH_AS(
        (bench.ops.rotary({.x = x, .positions = negative, .table = table, .heads = 3}), bench.finish()),
        "rotary: positions[0] is -1, not in 0 ... 5", Error);
    CHECK(std::vector<double>(before.begin(), before.begin() + 12) == bench.values(x.row_range(0, 1)));
    CHECK_THROWS_WITH_AS(bench.ops.rotary({.x = x, .positions = good, .table = table, .heads = 5}),
                         "rotary: 12 columns are not 5 heads", Error);
    CHECK_THROWS_WITH_AS(bench.ops.rotary({.x = x, .positions = good, .table = table, .heads = 6}),
                         "rotary: a table of 4 columns for heads of 2", Error);
    CHECK_THROWS_WITH_AS(bench.ops.rotary({.x = x, .positions = good, .table = bench.zeros({6, 3}), .heads = 3}),
                         "rotary: a table of 3 columns for heads of 4", Error);
    CHECK_THROWS_WITH_AS(
        bench.ops.rotary({.x = {x, 4, 12}, .positions = good, .table = table, .heads = 3}),
        "rotary: x is columns 4 to 16 of 12", Error);
    CHECK_THROWS_AS(bench.ops.rotary({.x = x, .positions = bench.integers({3}, {0, 1, 2}), .table = table, .heads = 3}),
                    Error);
  });
}

}  // namespace engine::test::test_rotary
