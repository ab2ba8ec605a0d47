#include "kernels/losses/cosine_loss.h"

#include <algorithm>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/vector_loop.h"
#include "kernels/losses/cpu/row_losses.h"

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
  const int64_t grain = std::max<int64_t>(1, 16384 / std::max<int64_t>(cols, 1));
  with_elements(args.x, [&](auto* all_x) {
    with_elements(args.y, [&](auto* all_y) {
      with_elements(args.dx, [&](auto* all_dx) {
        add_losses_of_rows(rows, grain, args.row_losses, args.totals, workspace_, [&](int64_t r) {
          const auto *x = all_x + r * cols, *y = all_y + r * cols;
          const CosineOfRow row(dot(x, x, cols), dot(y, y, cols), dot(x, y, cols), args.gradient_scale);
          if (!all_dx) return row.loss;
          auto* dx = all_dx + r * cols;
          each_vector(cols, [&](int64_t i, auto part) {
            const vfloat d = load(x + i, part) * row.of_x + load(y + i, part) * row.of_y;
            store(dx + i, args.accumulate ? load(dx + i, part) + d : d, part);
          });
          return row.loss;
        });
      });
    });
  });
}

}  // namespace engine::ENGINE_ISA
