#include "kernels/elementwise/activation.h"

#include "kernels/elementwise/activation_ref.h"
#include "tests/invariance.h"

namespace engine::test::test_activation {

namespace {

constexpr Activation every_activation[] = {Activation::none, Activation::relu, Activation::gelu, Activation::gelu_tanh,
                                           Activation::tanh, Activation::silu, Activation::quick_gelu,
                                           Activation::mish};

// kernels/elementwise/cpu/activation.h promises 1e-6 absolute for act' and, relative to |x|, for act. The error is
// multiplied with a factor, x or dy, and storing rounds once more.
Values errors(const Values& expected, const Values& factors, DType stored) {
  Values allowed = few_roundings(expected, stored);
  for (size_t i = 0; i < allowed.size(); ++i) allowed[i] += 1e-6 * std::abs(factors[i]);
  return allowed;
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
    check_derivative(reference::activation_backward(act, x, dy), x, loss);
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
          CHECK_ELEMENTS(bench.values(y), expected_y, errors(expected_y, x_values, other));
          CHECK_ELEMENTS(bench.values(dx), expected_dx, errors(expected_dx, dy_values, bench.compute));
          bench.ops.activation_backward({.x = x, .dy = dy, .dx = dy, .activation = act});
          CHECK_ELEMENTS(bench.values(dy), expected_dx, errors(expected_dx, dy_values, other));
          bench.ops.activation_forward({.x = x, .y = x, .activation = act});
          CHECK_ELEMENTS(bench.values(x), expected_y, errors(expected_y, x_values, bench.compute));
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
      std::vector<double> moderate = rounded;  // the reference itself overflows beyond this
      for (double& value : moderate) value = std::clamp(value, -1e4, 1e4);
      const Values all_ones(moderate.size(), 1.0);
      const Values expected_dx = reference::activation_backward(act, moderate, all_ones);
      CHECK_ELEMENTS(bench.values(y), expected_dx, errors(expected_dx, all_ones, DType::f32));
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

}  // namespace engine::test::test_activation
