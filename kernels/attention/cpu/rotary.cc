#include "kernels/attention/rotary.h"

#include <algorithm>

#include "core/parallel.h"
#include "kernels/checks.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/vector_loop.h"

namespace engine::ENGINE_ISA {
namespace {

// Turns the pairs (x[i], x[pairs + i]) of one head.
template <class T>
ENGINE_INLINE void turn(T* x, const float* cosines, const float* sines, float sign, int64_t pairs) {
  each_vector(pairs, [&](int64_t i, auto part) {
    const vfloat a = load(x + i, part), b = load(x + pairs + i, part);
    const vfloat c = load(cosines + i, part), s = load(sines + i, part) * sign;
    store(x + i, a * c - b * s, part);
    store(x + pairs + i, b * c + a * s, part);
  });
}

}  // namespace

void CpuOps::rotary(const RotaryArgs& args) {
  check_rotary(args);
  check_indices("rotary", "positions", args.positions, args.table.rows());
  const int64_t cols = args.x.matrix.cols(), head_width = args.x.width / args.heads;
  const int64_t dims = args.table.cols(), pairs = dims / 2;
  const int32_t* const positions = args.positions.as<int32_t>();
  const float* const table = args.table.as<float>();
  const float sign = args.backward ? -1 : 1;
  with_elements(args.x.matrix, [&](auto* x) {
    parallel_chunks(args.positions.count(), std::max<int64_t>(1, 16384 / (args.heads * dims)),
                    [&](int64_t begin, int64_t end) {
                      for (int64_t n = begin; n < end; ++n) {
                        const float* const cosines = table + positions[n] * dims;
                        auto* const row = x + n * cols + args.x.begin;
                        for (int64_t head = 0; head < args.heads; ++head)
                          turn(row + head * head_width, cosines, cosines + pairs, sign, pairs);
                      }
                    });
  });
}

}  // namespace engine::ENGINE_ISA
