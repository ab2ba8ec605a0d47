#include "kernels/rows/rows.h"

#include "kernels/rows/rows_ref.h"
#include "tests/invariance.h"

namespace engine::test::test_rows {

namespace {

using Matrix = reference::Matrix<double>;

// Casting to a narrower dtype rounds once. Otherwise the bits are kept.
Values errors(const Values& expected, DType from, DType to) {
  Values allowed;
  const bool narrows = from == DType::f32 && to == DType::bf16;
  for (double value : expected) allowed.push_back(narrows ? stored_error(value, to) : 0.0);
  return allowed;
}

Matrix matrix_of(const Bench& bench, const Tensor& tensor) {
  return {static_cast<size_t>(tensor.cols()), bench.values(tensor)};
}

}  // namespace

TEST_CASE("rows: gather and scatter, every pair of dtypes, all and some columns") {
  on_every_backend([](Bench& bench) {
    for (DType from : {DType::f32, DType::bf16})
      for (DType to : {DType::f32, DType::bf16})
        for (int64_t width : {1, 3, 17, 33, 65, 100})
          for (int64_t margin : {0, 5}) {
            CAPTURE(width); CAPTURE(margin);
            const std::vector<int> index{3, 0, 8, 7, 1};
            const Tensor rows = bench.integers({5}, index);
            const Tensor large = bench.normal(from, {9, width + 2 * margin}),
                         small = bench.normal(to, {5, width + margin});
            Matrix gathered = matrix_of(bench, small);
            reference::gather_rows(matrix_of(bench, large), static_cast<size_t>(margin), index, gathered, 0,
                                   static_cast<size_t>(width));
            bench.ops.gather_rows({.x = {large, margin, width}, .index = rows, .y = {small, 0, width}});
            CHECK_ELEMENTS(bench.values(small), gathered.values, errors(gathered.values, from, to));
            Matrix scattered = matrix_of(bench, large);
            reference::scatter_rows(matrix_of(bench, small), 0, index, scattered, static_cast<size_t>(2 * margin),
                                    static_cast<size_t>(width));
            bench.ops.scatter_rows({.x = {small, 0, width}, .index = rows, .y = {large, 2 * margin, width}});
            CHECK_ELEMENTS(bench.values(large), scattered.values, errors(scattered.values, to, from));
          }
  });
}

TEST_CASE("rows: a row gathered twice, no rows, NaNs kept, many threads") {
  on_every_backend([](Bench& bench) {
    const Tensor x = bench.normal(bench.compute, {700, 100}), y = bench.unset(DType::f32, {3000, 100});
    std::vector<int> index(3000);
    for (int& row : index) row = static_cast<int>(bench.random.below(700));
    const Tensor rows = bench.integers({3000}, index);
    check_same_at_any_thread_count([&] {
      bench.ops.gather_rows({.x = x, .index = rows, .y = y});
      return bench.values(y);
    });
    Matrix expected{100, std::vector<double>(300000)};
    reference::gather_rows(matrix_of(bench, x), 0, index, expected, 0, 100);
    CHECK(bench.values(y) == expected.values);
    const Tensor none = bench.arena.make(DType::i32, {0}), empty = bench.arena.make(bench.compute, {0, 100});
    bench.ops.gather_rows({.x = x, .index = none, .y = empty});
    bench.ops.scatter_rows({.x = empty, .index = none, .y = y});
    CHECK(bench.values(y) == expected.values);
    const Tensor nan = bench.unset(DType::f32, {1, 3}), cast = bench.arena.make(DType::bf16, {1, 3});
    bench.ops.gather_rows({.x = nan, .index = bench.integers({1}, {0}), .y = cast});
    for (double value : bench.values(cast)) CHECK(std::isnan(value));
  });
}

TEST_CASE("rows: what does not fit is an error that names it") {
  on_every_backend([](Bench& bench) {
    const Tensor x = bench.zeros({4, 6}), y = bench.zeros({2, 6}), good = bench.integers({2}, {0, 1});
    const Tensor large = bench.integers({2}, {0, 4}), negative = bench.integers({2}, {-1, 0});
    CHECK_THROWS_WITH_AS((bench.ops.gather_rows({.x = x, .index = large, .y = y}), bench.finish()),
                         "gather_rows: index[1] is 4, not in 0 ... 3", Error);
    CHECK_THROWS_WITH_AS((bench.ops.scatter_rows({.x = y, .index = negative, .y = x}), bench.finish()),
                         "scatter_rows: index[0] is -1, not in 0 ... 3", Error);
    CHECK_THROWS_WITH_AS(bench.ops.gather_rows({.x = {x, 0, 5}, .index = good, .y = y}),
                         "gather_rows: y has 6 columns, not 5", Error);
    CHECK_THROWS_WITH_AS(bench.ops.gather_rows({.x = {x, 2, 6}, .index = good, .y = y}),
                         "gather_rows: x is columns 2 to 8 of 6", Error);
    CHECK_THROWS_WITH_AS(bench.ops.gather_rows({.x = x, .index = bench.integers({3}, {0, 1, 2}), .y = y}),
                         "gather_rows: index is [3], not [2]", Error);
  });
}

}  // namespace engine::test::test_rows
