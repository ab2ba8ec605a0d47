#include "kernels/rows/column_chain.h"

#include "kernels/rows/column_chain_ref.h"
#include "tests/invariance.h"

namespace engine::test::test_column_chain {

namespace {

using Reference = reference::ColumnChain<double>;

// A sum of two numbers errs by roundings of the larger one, which is no larger than its row's numbers together.
Values errors_of(const Values& before, const Values& expected, size_t cols) {
  Values sizes;
  for (size_t i = 0; i < before.size(); ++i) {
    double size = 0;
    for (size_t k = 0; k < cols; ++k) size += 2 * std::abs(before[i - i % cols + k]);
    sizes.push_back(size);
  }
  return sum_errors(expected, sizes, 1, DType::f32);
}

Values normal_values(Random& random, size_t count) {
  Values values(count);
  for (double& value : values) value = static_cast<double>(random.normal());
  return values;
}

}  // namespace

TEST_CASE("column chain: the reference's gradients are the derivatives") {
  Random random(9, 0);
  for (const auto& [from, to] : {std::pair{size_t{0}, size_t{1}}, {1, 0}, {2, 0}}) {
    Reference chain{.cols = 3, .from = from, .to = to, .weight = 0.7};
    Values y = normal_values(random, 12), dy = normal_values(random, 12), weight{0.7};
    const auto loss = [&] {
      chain.weight = weight[0];
      Values result = y;
      chain.forward(result);
      return dot(result, dy);
    };
    Values after = y, gradient = dy;
    chain.forward(after);
    const Values dweight{chain.backward(after, gradient)};
    check_derivative(gradient, y, loss);
    check_derivative(dweight, weight, loss);
  }
}

TEST_CASE("column chain: forward and backward are those of the reference, any two columns, many rows or none") {
  on_every_backend([](Bench& bench) {
    for (const int64_t rows : {0, 1, 33, 1500, 5000})
      for (const auto& [cols, from, to] : {std::array<int64_t, 3>{2, 0, 1}, {2, 1, 0}, {5, 3, 1}}) {
        CAPTURE(rows); CAPTURE(cols); CAPTURE(from);
        const ArenaScope scope(bench.arena);
        const Tensor y = bench.normal(DType::f32, {rows, cols}), dy = bench.normal(DType::f32, {rows, cols});
        const Tensor weight = bench.from(DType::f32, {1}, {-1.3}), dweight = bench.from(DType::f32, {1}, {2});
        const Values before = bench.values(y), gradient_before = bench.values(dy);
        Values expected_y = bench.values(y), expected_dy = bench.values(dy);
        const Reference chain{static_cast<size_t>(cols), static_cast<size_t>(from), static_cast<size_t>(to),
                              bench.values(weight)[0]};
        bench.ops.chain_columns_forward({.y = y, .weight = weight, .from = from, .to = to});
        chain.forward(expected_y);
        CHECK_ELEMENTS(bench.values(y), expected_y, errors_of(before, expected_y, static_cast<size_t>(cols)));
        // The backward pass is compared on what the forward pass gave.
        double size = 0;
        const Values actual_y = bench.values(y);
        for (size_t i = 0; i < actual_y.size(); ++i) size += std::abs(actual_y[i]) * 4;
        bench.ops.chain_columns_backward(
            {.y = y, .dy = dy, .weight = weight, .dweight = dweight, .from = from, .to = to});
        const double of_weight = chain.backward(actual_y, expected_dy);
        CHECK_ELEMENTS(bench.values(dy), expected_dy,
                       errors_of(gradient_before, expected_dy, static_cast<size_t>(cols)));
        CHECK(std::abs(bench.values(dweight)[0] - 2 - of_weight) <=
              4 * epsilon_of(DType::f32) * (2 + std::abs(of_weight)) + 1e-12 * size);
      }
  });
}

TEST_CASE("column chain: columns that are not there, or one and the same, are refused") {
  on_every_backend([](Bench& bench) {
    const Tensor y = bench.zeros({3, 2}), weight = bench.zeros({1});
    CHECK_THROWS_WITH_AS(bench.ops.chain_columns_forward({.y = y, .weight = weight, .from = 0, .to = 2}),
                         "chain_columns_forward: columns 0 and 2 of 2", Error);
    CHECK_THROWS_WITH_AS(
        bench.ops.chain_columns_backward({.y = y, .dy = y, .weight = weight, .dweight = weight, .from = 1, .to = 1}),
        "chain_columns_backward: columns 1 and 1 of 2", Error);
    CHECK_THROWS_WITH_AS(bench.ops.chain_columns_forward({.y = y, .weight = bench.zeros({2})}),
                         "chain_columns_forward: weight is [2], not [1]", Error);
  });
}

}  // namespace engine::test::test_column_chain
