// Rotary positions on a device. A thread turns some neighbouring pairs of a head, 16 bytes of the narrower dtype each
// time where the addresses allow it. All threads of a row read the same row of the table. A position out of range is a
// fault, and its row stays as it is.
#include "kernels/attention/rotary.h"

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/vector.h"
#include "kernels/sizes.h"

namespace engine::cuda {
namespace {

constexpr int rotary_threads = 256;

template <class T>
struct Rotary {
  T* x;
  const int32_t* positions;
  const float* table;
  int64_t stride, count;  // elements from a row to the next, threads with work
  int heads, head_width, pairs, rows;
  float sign;
  FaultReport fault;
};

template <class T, int width>
__global__ void __launch_bounds__(rotary_threads) rotary_kernel(const Rotary<T> a) {
  const int64_t index = int64_t{blockIdx.x} * rotary_threads + threadIdx.x;
  if (index >= a.count) return;
  const int of_head = a.pairs / width, of_row = of_head * a.heads;
  const int64_t n = index / of_row;
  const int within = static_cast<int>(index % of_row), i = within % of_head * width;
  const int position = a.positions[n];
  if (position < 0 || position >= a.rows) {
    if (within == 0) report_fault(a.fault, FaultKind::rotary_position, static_cast<int>(n), position, a.rows);
    return;
  }
  T* const x = a.x + n * a.stride + int64_t{within / of_head} * a.head_width + i;
  const float* const cosines = a.table + int64_t{position} * 2 * a.pairs + i;
  float first[width], second[width], c[width], s[width];
  load_floats(x, first);
  load_floats(x + a.pairs, second);
  load_floats(cosines, c);
  load_floats(cosines + a.pairs, s);
  ENGINE_UNROLL
  for (int k = 0; k < width; ++k) {
    const float one = first[k], two = second[k];
    first[k] = one * c[k] - two * (a.sign * s[k]);
    second[k] = two * c[k] + one * (a.sign * s[k]);
  }
  store_floats(x, first);
  store_floats(x + a.pairs, second);
}

}  // namespace

void CudaOps::rotary(const RotaryArgs& a) {
  const Operation operation("rotary", {a.x.matrix, a.positions, a.table});
  check_rotary(a);
  const int64_t rows = a.positions.count(), stride = a.x.matrix.cols();
  if (!rows) return;
  const auto heads = static_cast<int>(a.heads), pairs = static_cast<int>(a.table.cols() / 2);
  const auto head_width = static_cast<int>(a.x.width / a.heads);
  with_device_elements(a.x.matrix, [&]<class T>(T* matrix) {
    T* const x = matrix + a.x.begin;
    constexpr int wide = vector_width<T>;
    const bool vectors = takes_vectors(wide, pairs, {x, a.table.data}) && stride % wide == 0 && head_width % wide == 0;
    with_width<wide>(vectors, [&](auto width) {
      const int64_t count = rows * heads * (pairs / width.value);
      const Rotary<T> rotary{x, a.positions.as<int32_t>(), a.table.as<float>(), stride, count, heads, head_width, pairs,
                             static_cast<int>(a.table.rows()), a.backward ? -1.0f : 1.0f, device_.fault()};
      launch(rotary_kernel<T, width.value>, blocks(ceil_div(count, int64_t{rotary_threads})), rotary_threads, 0,
             stream(), rotary);
    });
  });
}

}  // namespace engine::cuda
