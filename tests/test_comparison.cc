// Tests of the tests: comparisons refuse every common kind of wrong answer, in the smallest element, too.
#include <array>

#include "kernels/matmul/matmul_ref.h"
#include "tests/invariance.h"

namespace engine::test::test_comparison {

namespace {

bool accepts(const Values& actual, const Values& expected, const Values& allowed) {
  return difference_beyond(actual, expected, allowed).empty();
}

// A product of two matrices, whose elements differ in size by up to 1e6, and its errors.
struct Product {
  static constexpr int64_t M = 5, N = 4, K = 9;
  Values a, b, c = Values(M * N), sizes = c;
  size_t smallest = 0;

  Product() {
    Random random(8, 0);
    for (int64_t i = 0; i < M; ++i)
      for (int64_t k = 0; k < K; ++k) a.push_back(std::pow(10.0, -static_cast<double>(i)) * random.normal());
    for (int64_t k = 0; k < K; ++k)
      for (int64_t j = 0; j < N; ++j) b.push_back(std::pow(10.0, -0.5 * static_cast<double>(j)) * random.normal());
    multiply(a, b, c);
    multiply(magnitudes(a), magnitudes(b), sizes);
    for (size_t i = 0; i < c.size(); ++i)
      if (sizes[i] < sizes[smallest]) smallest = i;
  }
  static void multiply(const Values& a, const Values& b, Values& c) {
    reference::matmul<double>({M, N, K, a.data(), b.data(), c.data()});
  }
  // Returns the product as a kernel adds it up, in f32.
  Values computed() const {
    Values all;
    for (int64_t i = 0; i < M; ++i)
      for (int64_t j = 0; j < N; ++j) {
        float sum = 0;
        for (int64_t k = K - 1; k >= 0; --k)
          sum += static_cast<float>(a[static_cast<size_t>(i * K + k)]) *
                 static_cast<float>(b[static_cast<size_t>(k * N + j)]);
        all.push_back(static_cast<double>(sum));
      }
    return all;
  }
  Values errors(DType stored) const { return sum_errors(c, sizes, K, stored); }
};

}  // namespace

TEST_CASE("comparison by element: a computed product is accepted, its smallest element must be right") {
  const Product p;
  for (DType stored : {DType::f32, DType::bf16}) {
    const Values allowed = p.errors(stored);
    const auto refuses = [&](double wrong) {
      Values actual = p.computed();
      actual[p.smallest] = wrong;
      return !accepts(actual, p.c, allowed);
    };
    const double right = p.c[p.smallest];
    CHECK(accepts(p.computed(), p.c, allowed));
    CHECK_FALSE(refuses(right));
    CHECK(refuses(NAN));
    CHECK(refuses(INFINITY));
    CHECK(refuses(-right));
    CHECK(refuses(0));
    CHECK(refuses(right * 1.01));
    CHECK(refuses(right * 0.99));
    CHECK(refuses(p.c[p.smallest - 1]));
    // The smallest element is the last. One of its terms is dropped.
    REQUIRE(p.smallest == p.c.size() - 1);
    CHECK(refuses(right - p.a[44] * p.b[35]));
    // The largest element is 1e6 times as large. A tolerance relative to it accepts a wrong sign here.
    Values actual = p.computed();
    actual[p.smallest] = -right;
    CHECK(relative_difference(actual, p.c) < 1e-4);
  }
}

TEST_CASE("comparison by element: swapped tensors, a wrong scale of all, and other sizes are refused") {
  const Product p;
  const Values allowed = p.errors(DType::f32);
  Values swapped(p.c.size()), scaled = p.computed();
  reference::matmul<double>({Product::N, Product::M, Product::K, p.b.data(), p.a.data(), swapped.data(), true, true});
  for (double& value : scaled) value *= 1 + 1e-5;
  CHECK_FALSE(accepts(swapped, p.c, allowed));
  CHECK_FALSE(accepts(scaled, p.c, allowed));
  CHECK_FALSE(accepts({}, p.c, allowed));
  CHECK_FALSE(accepts(p.computed(), p.c, {}));
  CHECK_FALSE(accepts(p.computed(), p.c, Values(p.c.size(), NAN)));
  CHECK_FALSE(accepts(p.computed(), p.c, Values(p.c.size(), INFINITY)));
  CHECK(accepts({0}, {0}, {0}));
  CHECK_FALSE(accepts({0x1p-149}, {0}, {0}));
  CHECK(difference_beyond({1, 5, 9}, {1, 2, 3}, {0.1, 1, 1}) ==
        "element 2 is 9.000000, expected 3.000000: the difference is 6.000000 times what is allowed");
}

TEST_CASE("comparison of derivatives refuses a wrong gradient element") {
  Values x{0.5, 1e-3, 2};
  const auto value = [&] { return std::sin(x[0]) + 1e-3 * x[1] * x[1] + x[2] * x[2] * x[2]; };
  const Derivatives expected = finite_differences(x, value, 1e-5, 0x1p-46 * 10);
  const Values right{std::cos(0.5), 2e-6, 12};
  CHECK(accepts(right, expected.values, expected.errors));
  for (size_t i = 0; i < 3; ++i)
    for (double factor : {-1.0, 0.0, 1.01, double{NAN}}) {
      Values wrong = right;
      wrong[i] *= factor;
      CHECK_FALSE(accepts(wrong, expected.values, expected.errors));
    }
}

TEST_CASE("comparison relative to the largest refuses NaN, wrong sign, wrong scale, swapped values, a dropped term") {
  const std::vector<double> expected{1.0, -2.0, 3.0, 0.5};
  const double tolerance = 1e-3;
  CHECK(relative_difference({1.0, -2.0, 3.0005, 0.5}, expected) <= tolerance);
  CHECK_FALSE(relative_difference({1.0, NAN, 3.0, 0.5}, expected) <= tolerance);
  CHECK_FALSE(relative_difference({-1.0, 2.0, -3.0, -0.5}, expected) <= tolerance);
  CHECK_FALSE(relative_difference({1.01, -2.02, 3.03, 0.505}, expected) <= tolerance);
  CHECK_FALSE(relative_difference({-2.0, 1.0, 3.0, 0.5}, expected) <= tolerance);
  CHECK_FALSE(relative_difference({1.0, -2.0, 3.0, 0.0}, expected) <= tolerance);
  CHECK_FALSE(relative_difference({1.0, -2.0, 3.0}, expected) <= tolerance);
}

}  // namespace engine::test::test_comparison
