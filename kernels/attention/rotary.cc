#include "kernels/attention/rotary.h"

#include <cmath>

#include "kernels/checks.h"

namespace engine {

void check_rotary(const RotaryArgs& args) {
  const char* name = "rotary";
  check_columns(name, "x", args.x, args.positions.count(), args.x.width);
  require(args.heads > 0 && args.x.width % args.heads == 0, name, ": ", args.x.width, " columns are not ", args.heads,
          " heads");
  const int64_t dims = args.table.cols(), head = args.x.width / args.heads;
  require(dims > 0 && dims % 2 == 0 && dims <= head, name, ": a table of ", dims, " columns for heads of ", head);
  check_vector(name, "positions", args.positions, DType::i32, args.x.matrix.rows());
  check_matrix(name, "table", args.table, DType::f32, args.table.rows(), dims);
}

void rotary_table(float* table, int64_t positions, int64_t dims, float base) {
  const int64_t pairs = dims / 2;
  for (int64_t i = 0; i < pairs; ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(dims);
    const float frequency = 1.0f / std::pow(base, exponent);
    for (int64_t t = 0; t < positions; ++t) {
      const auto angle = static_cast<double>(static_cast<float>(t) * frequency);
      table[t * dims + i] = static_cast<float>(std::cos(angle));
      table[t * dims + pairs + i] = static_cast<float>(std::sin(angle));
    }
  }
}

}  // namespace engine
