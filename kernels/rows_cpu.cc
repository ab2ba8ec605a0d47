#include "kernels/rows.h"

#include <algorithm>

#include "core/parallel.h"
#include "kernels/checks.h"
#include "kernels/convert.h"
#include "kernels/cpu_ops.h"

namespace engine::ENGINE_ISA {
namespace {

// The rows of `ordered` are taken in turn, those of `indexed` by index.
void check(const RowsArgs& args, const char* name, const Columns& ordered, const Columns& indexed) {
  check_columns(name, "x", args.x, args.x.matrix.rows(), args.x.width);
  check_columns(name, "y", args.y, args.y.matrix.rows(), args.x.width);
  check_vector(name, "index", args.index, DType::i32, ordered.matrix.rows());
  check_indices(name, "index", args.index, indexed.matrix.rows());
}

// Row to(i) of y is row from(i) of x.
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
  check(args, "gather_rows", args.y, args.x);
  const int32_t* index = args.index.as<int32_t>();
  copy_rows(args, [&](int64_t i) { return index[i]; }, [](int64_t i) { return i; });
}

void CpuOps::scatter_rows(const RowsArgs& args) {
  check(args, "scatter_rows", args.x, args.y);
  const int32_t* index = args.index.as<int32_t>();
  copy_rows(args, [](int64_t i) { return i; }, [&](int64_t i) { return index[i]; });
}

}  // namespace engine::ENGINE_ISA
