#include "kernels/losses/cosine_loss.h"

#include <algorithm>

#include "core/parallel.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/vector_loop.h"

namespace engine::ENGINE_ISA {
namespace {

template <class A, class B>
float dot(const A* a, const B* b, int64_t cols) {
  return sum_over(cols, [&](int64_t i, auto part) { return only(load(a + i, part) * load(b + i, part), part); });
}

}  // namespace

void CpuOps::cosine_loss(const CosineLossArgs& args) {
  check_cosine_loss(args);
  const int64_t rows = args.x.rows(), cols = args.x.cols();
  if (!rows) return;
  const ArenaScope scope(workspace_);
  float* losses = (args.row_losses ? args.row_losses : workspace_.make(DType::f32, {rows})).as<float>();
  with_elements(args.x, [&](auto* all_x) {
    with_elements(args.y, [&](auto* all_y) {
      with_elements(args.dx, [&](auto* all_dx) {
        parallel_chunks(rows, std::max<int64_t>(1, 16384 / cols), [&](int64_t begin, int64_t end) {
          for (int64_t r = begin; r < end; ++r) {
            const auto *x = all_x + r * cols, *y = all_y + r * cols;
            const CosineOfRow row(dot(x, x, cols), dot(y, y, cols), dot(x, y, cols), args.gradient_scale);
            losses[r] = row.loss;
            if (!all_dx) continue;
            auto* dx = all_dx + r * cols;
            each_vector(cols, [&](int64_t i, auto part) {
              const vfloat d = load(x + i, part) * row.of_x + load(y + i, part) * row.of_y;
              store(dx + i, args.accumulate ? load(dx + i, part) + d : d, part);
            });
          }
        });
      });
    });
  });
  add_row_losses(losses, rows, args.totals.as<float>());
}

}  // namespace engine::ENGINE_ISA
