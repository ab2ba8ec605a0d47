#include "kernels/elementwise/activation.h"

#include "kernels/elementwise/activation_ref.h"
#include "tests/invariance.h"

namespace engine::test {

namespace {

constexpr Activation every_activation[] = {Activation::none, Activation::relu, Activation::gelu, Activation::gelu_tanh,
                                           Activation::tanh};

// kernels/elementwise/cpu/activation.h promises 1e-6 absolute for act' and, relative to |x|, for act. `factors` are
// what that error is multiplied with, and storing rounds once more.
double tolerance(const std::vector<double>& expected, const std::vector<double>& factors, DType stored) {
  double size = 0, factor = 1e-30;
  for (double value : expected) size = std::max(size, std::abs(value));
  for (double value : factors) factor = std::max(factor, std::abs(value));
  return 1e-6 * factor / std::max(size, 1e-30) + epsilon_of(stored);
}

}  // namespace

TEST_CASE("activation: the reference's gradient is the derivative") {
  Random random(5, 0);
  for (Activation act : every_activation) {
    CAPTURE(static_cast<int>(act));
    std::vector<double> x, dy;
    for (int i = 0; i < 40; ++i) {
      x.push_back(3 * random.normal());
      dy.push_back(random.normal());
    }
    const auto loss = [&] { return dot(reference::activation_forward(act, x), dy); };
    CHECK_CLOSE(reference::activation_backward(act, x, dy), finite_differences(x, loss), finite_difference_tolerance);
  }
}

TEST_CASE("activation: forward and backward, every pair of dtypes, odd shapes, in place") {
  on_every_backend([](Bench& bench) {
    for (Activation act : every_activation)
      for (DType other : {DType::f32, DType::bf16})
        for (const Shape& shape : {Shape{1, 1}, Shape{3, 17}, Shape{7, 33}, Shape{65, 100}, Shape{600, 65}}) {
          CAPTURE(static_cast<int>(act)); CAPTURE(shape.text());
          const Tensor x = bench.normal(bench.compute, shape, 3), dy = bench.normal(other, shape);
          const Tensor y = bench.unset(other, shape), dx = bench.unset(bench.compute, shape);
          const std::vector<double> x_values = bench.values(x), dy_values = bench.values(dy);
          bench.ops.activation_forward({.x = x, .y = y, .activation = act});
          bench.ops.activation_backward({.x = x, .dy = dy, .dx = dx, .activation = act});
          const std::vector<double> expected_y = reference::activation_forward(act, x_values);
          const std::vector<double> expected_dx = reference::activation_backward(act, x_values, dy_values);
          CHECK_CLOSE(bench.values(y), expected_y, tolerance(expected_y, x_values, other));
          CHECK_CLOSE(bench.values(dx), expected_dx, tolerance(expected_dx, dy_values, bench.compute));
          bench.ops.activation_backward({.x = x, .dy = dy, .dx = dy, .activation = act});
          CHECK_CLOSE(bench.values(dy), expected_dx, tolerance(expected_dx, dy_values, other));
          bench.ops.activation_forward({.x = x, .y = x, .activation = act});
          CHECK_CLOSE(bench.values(x), expected_y, tolerance(expected_y, x_values, bench.compute));
        }
  });
}

TEST_CASE("activation: large values, zeros and subnormals stay finite, and a NaN gives a NaN") {
  on_every_backend([](Bench& bench) {
    const std::vector<double> extremes{0.0,  -0.0,  1e-40, -1e-40, 1e-6, 30.0, -30.0,
                                       88.0, -88.0, 1e4,   -1e4,   1e30, -1e30,  3e38, -3e38};
    const Shape shape{static_cast<int64_t>(extremes.size())};
    const Tensor x = bench.from(DType::f32, shape, extremes), y = bench.unset(DType::f32, shape);
    const Tensor ones = bench.from(DType::f32, shape, std::vector<double>(extremes.size(), 1.0));
    const Tensor nan = bench.from(DType::f32, {19}, std::vector<double>(19, NAN)), result = bench.zeros({19});
    const Tensor dy = bench.normal(DType::f32, {19});
    const std::vector<double> rounded = bench.values(x);
    for (Activation act : every_activation) {
      CAPTURE(static_cast<int>(act));
      bench.ops.activation_forward({.x = x, .y = y, .activation = act});
      const std::vector<double> actual = bench.values(y), expected = reference::activation_forward(act, rounded);
      for (size_t i = 0; i < actual.size(); ++i) {
        CAPTURE(rounded[i]);
        CHECK(std::abs(actual[i] - expected[i]) <= 1e-6 * std::max(1.0, std::abs(expected[i])));
        const bool vanishes = act == Activation::relu || act == Activation::gelu || act == Activation::gelu_tanh;
        if (vanishes && rounded[i] < -29) CHECK(std::abs(actual[i]) <= 1e-30);
      }
      bench.ops.activation_backward({.x = x, .dy = ones, .dx = y, .activation = act});
      std::vector<double> moderate = rounded;  // beyond this the reference itself overflows
      for (double& value : moderate) value = std::clamp(value, -1e4, 1e4);
      CHECK_CLOSE(bench.values(y),
                  reference::activation_backward(act, moderate, std::vector<double>(moderate.size(), 1.0)), 1e-6);
      bench.ops.activation_forward({.x = nan, .y = result, .activation = act});
      for (double value : bench.values(result)) CHECK(std::isnan(value));
      if (act == Activation::none) continue;
      bench.ops.activation_backward({.x = nan, .dy = dy, .dx = result, .activation = act});
      for (double value : bench.values(result)) CHECK(std::isnan(value));
    }
  });
}

TEST_CASE("activation: no elements, the same bits at any number of threads, and shapes that differ") {
  on_every_backend([](Bench& bench) {
    const Tensor none = bench.arena.make(bench.compute, {0, 8});
    bench.ops.activation_forward({.x = none, .y = none, .activation = Activation::gelu});
    const Tensor x = bench.normal(bench.compute, {300, 333}), y = bench.unset(bench.compute, {300, 333});
    check_same_at_any_thread_count([&] {
      bench.ops.activation_forward({.x = x, .y = y, .activation = Activation::gelu_tanh});
      return bench.values(y);
    });
    CHECK_THROWS_WITH_AS(
        bench.ops.activation_forward({.x = x, .y = bench.zeros({3, 8}), .activation = Activation::relu}),
        "activation_forward: y is [3, 8], not [300, 333]", Error);
  });
}

}  // namespace engine::test
