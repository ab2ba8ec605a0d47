#include "models/layers.h"
#include "tests/operation.h"
#include "training/optimizer.h"

namespace engine::test {

// Updates leave a linear layer's gradient on the host as it is. Later passes must neither add to it nor count it.
TEST_CASE("optimizer: a linear layer's gradient of the step before counts as 0, whether it is written again or not") {
  const std::unique_ptr<Ops> ops = make_cpu_ops();
  Parameters table;
  const Linear linear(table, "layer", 5, 6, Initial::ones());
  table.allocate(ops->memory(), /*with_gradients=*/true);
  table.initialise(1);
  const TrainingConfig config;
  Optimizer optimizer(*ops, table, config, DType::f32);
  Arena arena(ops->memory(), size_t{1} << 26);
  Bench bench{*ops, arena, DType::f32};
  const Tensor x = bench.normal(DType::f32, {7, 5}), dy = bench.normal(DType::f32, {7, 6});
  const Run run{.ops = *ops, .arena = arena, .compute = DType::f32, .gradients = &table.gradients()};
  int64_t step = 0;
  // The norm after some runs of the layer, or of two parts of it, whose gradients depend on x and dy alone.
  const auto norm_of = [&](int runs, bool in_parts) {
    for (int i = 0; i < runs; ++i) {
      if (!in_parts) {
        linear.backward(run, dy, x, {});
        continue;
      }
      linear.part(0, 2).backward(run, bench.from(DType::f32, {7, 2}, std::vector<double>(14, 1.0)), x, {});
      linear.part(2, 4).backward(run, bench.from(DType::f32, {7, 4}, std::vector<double>(28, 1.0)), x, {});
    }
    optimizer.measure_norm();
    const float norm = optimizer.gradient_norm();
    optimizer.update(1e-3f, ++step);
    return norm;
  };
  const float whole = norm_of(1, false), parts = norm_of(1, true);
  CHECK(whole > 0);
  CHECK(norm_of(0, false) == 0);
  CHECK(norm_of(1, false) == whole);
  CHECK(norm_of(1, true) == parts);
  CHECK(std::abs(norm_of(2, false) - 2 * whole) <= 1e-5f * whole);
  CHECK(norm_of(1, false) == whole);
}

}  // namespace engine::test
