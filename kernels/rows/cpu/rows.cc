#include "kernels/rows/rows.h"

#include <algorithm>

#include "core/parallel.h"
#include "kernels/checks.h"
#include "kernels/cpu/convert.h"
#include "kernels/cpu/cpu_ops.h"

namespace engine::ENGINE_ISA {
namespace {

// Copies rows: row to(i) of y is row from(i) of x.
template <class From, class To>
void copy_rows(const RowsArgs& args, const From& from, const To& to) {
  if (!args.x.width) return;
  const int64_t width = args.x.width, x_cols = args.x.matrix.cols(), y_cols = args.y.matrix.cols();
  with_elements(args.x.matrix, [&](auto* x) {
    with_elements(args.y.matrix, [&](auto* y) {
      parallel_chunks(args.index.count(), std::max<int64_t>(1, 32768 / width), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i)
          convert(x + from(i) * x_cols + args.x.begin, y + to(i) * y_cols + args.y.begin, width);
      });
    });
  });
}

}  // namespace

void CpuOps::gather_rows(const RowsArgs& args) {
  check_gather(args);
  check_indices("gather_rows", "index", args.index, args.x.matrix.rows());
  const int32_t* index = args.index.as<int32_t>();
  copy_rows(args, [&](int64_t i) { return index[i]; }, [](int64_t i) { return i; });
}

void CpuOps::scatter_rows(const RowsArgs& args) {
  check_scatter(args);
  check_indices("scatter_rows", "index", args.index, args.y.matrix.rows());
  const int32_t* index = args.index.as<int32_t>();
  copy_rows(args, [](int64_t i) { return i; }, [&](int64_t i) { return index[i]; });
}

}  // namespace engine::ENGINE_ISA
