// The test of the tests: a wrong answer of every common kind is refused.
#include "tests/operation.h"

namespace engine::test {

TEST_CASE("comparison refuses NaN, wrong sign, wrong scale, swapped values and a dropped term") {
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

}  // namespace engine::test
