#include "kernels/rows/rows.h"

#include "kernels/checks.h"

namespace engine {
namespace {

void check(const RowsArgs& args, const char* name, const Columns& ordered) {
  check_columns(name, "x", args.x, args.x.matrix.rows(), args.x.width);
  check_columns(name, "y", args.y, args.y.matrix.rows(), args.x.width);
  check_vector(name, "index", args.index, DType::i32, ordered.matrix.rows());
}

}  // namespace

void check_gather(const RowsArgs& args) { check(args, "gather_rows", args.y); }
void check_scatter(const RowsArgs& args) { check(args, "scatter_rows", args.x); }

}  // namespace engine
