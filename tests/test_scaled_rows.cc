#include "kernels/rows/scaled_rows.h"

#include "kernels/rows/scaled_rows_ref.h"
#include "tests/invariance.h"

namespace engine::test::test_scaled_rows {

namespace {

using Reference = reference::ScaledRows<double>;

Values normal_values(Random& random, size_t count) {
  Values values(count);
  for (double& value : values) value = static_cast<double>(random.normal());
  return values;
}

const std::vector<int> taken{4, 0, 4, 2}, given{1, 5, 0, 3};

}  // namespace

TEST_CASE("scaled rows: the reference's gradients are the derivatives") {
  Random random(9, 0);
  for (const Gate gate : {Gate::relu, Gate::softmax})
    for (const size_t at : {0, 2}) {
      Reference rows{.cols = 3, .weights = {0.7, -0.4, 0.3}, .at = at, .gate = gate};
      const Values before = normal_values(random, 18), dy = normal_values(random, 18);
      Values x = normal_values(random, 15);
      const auto loss = [&] {
        Values y = before;
        rows.add(x, taken, y, given);
        return dot(y, dy);
      };
      Values dx(15);
      rows.add(dy, given, dx, taken);
      const Values dweights = rows.backward(x, taken, dy, given);
      check_derivative(dx, x, loss);
      check_derivative(dweights, rows.weights, loss);
    }
}

TEST_CASE("scaled rows: forward and backward are those of the reference, with indices and without") {
  on_every_backend([](Bench& bench) {
    for (const int64_t cols : {1, 7, 64, 1100})  // the last is wider than any block
      for (const Gate gate : {Gate::relu, Gate::softmax})
        for (const bool indexed : {true, false})
          for (const int at : {0, 1, 3}) {
            CAPTURE(cols); CAPTURE(at); CAPTURE(indexed);
            const ArenaScope scope(bench.arena);
            const auto width = static_cast<size_t>(cols);
            const std::vector<int> all{0, 1, 2, 3, 4, 5}, from = indexed ? taken : all, to = indexed ? given : all;
            const Tensor x = bench.normal(DType::f32, {6, cols}), y = bench.normal(DType::f32, {6, cols});
            const Tensor weights = bench.from(DType::f32, {4}, {0.7, -0.4, 0, 1.3}), dweights = bench.zeros({4});
            const Tensor of_x = indexed ? bench.integers({4}, from) : Tensor{},
                         of_y = indexed ? bench.integers({4}, to) : Tensor{};
            const Reference rows{width, bench.values(weights), static_cast<size_t>(at), gate};
            const RowScale scale{weights, at, gate};
            const Values x_values = bench.values(x), y_values = bench.values(y);
            const Values of_weights = rows.backward(x_values, from, y_values, to);
            Values expected = y_values, sizes = magnitudes(expected);
            bench.ops.row_scale_backward({.x = x, .x_index = of_x, .dy = y, .dy_index = of_y, .scale = scale,
                                          .dweights = dweights});
            // The sum is taken in double, so its result errs by a rounding of what it is multiplied with.
            double size = 0;
            for (size_t i = 0; i < from.size(); ++i)
              for (size_t c = 0; c < width; ++c)
                size += std::abs(x_values[static_cast<size_t>(from[i]) * width + c] *
                                 y_values[static_cast<size_t>(to[i]) * width + c]);
            const Values actual = bench.values(dweights);
            for (size_t m = 0; m < actual.size(); ++m)
              CHECK(std::abs(actual[m] - of_weights[m]) <=
                    4 * epsilon_of(DType::f32) * std::abs(of_weights[m]) + 1e-12 * size);
            rows.add(x_values, from, expected, to);
            const Values of = magnitudes(x_values);
            for (size_t i = 0; i < from.size(); ++i)
              for (size_t c = 0; c < width; ++c)
                sizes[static_cast<size_t>(to[i]) * width + c] += of[static_cast<size_t>(from[i]) * width + c] * 2;
            bench.ops.add_scaled_rows({.x = x, .x_index = of_x, .y = y, .y_index = of_y, .scale = scale});
            CHECK_ELEMENTS(bench.values(y), expected, sum_errors(expected, sizes, 1, DType::f32));
          }
  });
}

TEST_CASE("scaled rows: none, many, the same bits at any number of threads") {
  on_every_backend([](Bench& bench) {
    const Tensor x = bench.normal(DType::f32, {900, 80}), weights = bench.from(DType::f32, {2}, {0.5, 0.25});
    const Tensor none = bench.arena.make(DType::i32, {0}), y = bench.normal(DType::f32, {900, 80});
    const Tensor dweights = bench.zeros({2});
    const Values before = bench.values(y);
    const RowScale scale{weights, 1, Gate::softmax};
    bench.ops.add_scaled_rows({.x = x, .x_index = none, .y = y, .y_index = none, .scale = scale});
    bench.ops.row_scale_backward({.x = x, .x_index = none, .dy = y, .dy_index = none, .scale = scale,
                                  .dweights = dweights});
    CHECK(bench.values(y) == before);
    CHECK(bench.values(dweights) == Values{0, 0});
    check_same_at_any_thread_count([&] {
      bench.fill(y, before);
      bench.fill(dweights, {0, 0});
      bench.ops.add_scaled_rows({.x = x, .y = y, .scale = scale});
      bench.ops.row_scale_backward({.x = x, .dy = y, .scale = scale, .dweights = dweights});
      Values all = bench.values(y);
      append(all, bench.values(dweights));
      return all;
    });
  });
}

TEST_CASE("scaled rows: what does not fit is an error that names it") {
  on_every_backend([](Bench& bench) {
    const Tensor x = bench.zeros({4, 6}), y = bench.zeros({2, 6}), good = bench.integers({2}, {0, 1});
    const Tensor large = bench.integers({2}, {0, 4}), weights = bench.zeros({3});
    const RowScale scale{weights, 1, Gate::relu};
    const auto add = [&](const AddScaledRowsArgs& args) {
      bench.ops.add_scaled_rows(args);
      bench.finish();
    };
    CHECK_THROWS_WITH_AS(add({.x = x, .x_index = large, .y = y, .scale = scale}),
                         "add_scaled_rows: x_index[1] is 4, not in 0 ... 3", Error);
    CHECK_THROWS_WITH_AS(add({.x = y, .y = y, .y_index = large, .scale = scale}),
                         "add_scaled_rows: y_index[1] is 4, not in 0 ... 1", Error);
    CHECK_THROWS_WITH_AS(add({.x = x, .y = y, .scale = scale}), "add_scaled_rows: x gives 4 rows and y takes 2", Error);
    CHECK_THROWS_WITH_AS(add({.x = x, .x_index = good, .y = y, .scale = {weights, 3, Gate::relu}}),
                         "add_scaled_rows: weight 3 of 3", Error);
    CHECK_THROWS_WITH_AS(add({.x = bench.zeros({2, 5}), .y = y, .scale = scale}),
                         "add_scaled_rows: y is [2, 6], not [2, 5]", Error);
    CHECK_THROWS_WITH_AS((bench.ops.row_scale_backward({.x = x, .x_index = large, .dy = y, .scale = scale,
                                                        .dweights = weights}), bench.finish()),
                         "row_scale_backward: x_index[1] is 4, not in 0 ... 3", Error);
    CHECK_THROWS_WITH_AS(bench.ops.row_scale_backward({.x = y, .dy = y, .scale = scale, .dweights = bench.zeros({2})}),
                         "row_scale_backward: dweights is [2], not [3]", Error);
  });
}

}  // namespace engine::test::test_scaled_rows
