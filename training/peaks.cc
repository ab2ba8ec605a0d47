#include "training/peaks.h"

#include <algorithm>

#include "core/arena.h"
#include "core/stopwatch.h"

namespace engine {

namespace {

constexpr double long_enough = 0.02;  // seconds of one run, behind which a larger one tells nothing new
constexpr int64_t largest_product = 4096, largest_copy = int64_t{1} << 25;  // rows, and f32 numbers

// Returns the least seconds of three runs, behind one that makes memory and caches warm.
template <class Work>
double least_seconds(Stopwatch& stopwatch, const Work& work) {
  work();
  for (int i = 0; i < 3; ++i) {
    stopwatch.mark();
    work();
  }
  stopwatch.mark();
  const std::vector<double> seconds = stopwatch.seconds();
  return *std::min_element(seconds.begin(), seconds.end());
}

double product_peak(Ops& ops, Stopwatch& stopwatch, DType dtype) {
  double best = 0;
  for (int64_t size = 128; size <= largest_product; size *= 2) {
    Arena arena(ops.memory(), 3 * static_cast<size_t>(size * size) * size_of(dtype) + 4096);
    const Tensor a = arena.make_zeros(dtype, {size, size}), b = arena.make_zeros(dtype, {size, size}),
                 c = arena.make_zeros(dtype, {size, size});
    const MatmulArgs product{.a = a, .b = b, .c = c, .transpose_b = true, .compute = dtype};
    const double seconds = least_seconds(stopwatch, [&] { ops.matmul(product); });
    best = std::max(best, product.flops() / seconds);
    if (seconds > long_enough) break;
  }
  return best;
}

// The largest copy alone counts, since caches hold smaller ones.
double copy_peak(Ops& ops, Stopwatch& stopwatch) {
  double largest = 0;
  for (int64_t count = 1 << 10; count <= largest_copy; count *= 8) {
    const size_t bytes = static_cast<size_t>(count) * sizeof(float);
    Arena arena(ops.memory(), 2 * bytes + 4096);
    const Tensor x = arena.make_zeros(DType::f32, {count}), y = arena.make_zeros(DType::f32, {count});
    const double seconds = least_seconds(stopwatch, [&] { ops.copy({.x = x, .y = y}); });
    largest = 2 * static_cast<double>(bytes) / seconds;
    if (seconds > long_enough) break;
  }
  return largest;
}

}  // namespace

Peaks measure_peaks(Ops& ops, Stopwatch& stopwatch) {
  return {.f32 = product_peak(ops, stopwatch, DType::f32),
          .bf16 = product_peak(ops, stopwatch, DType::bf16),
          .bytes_per_second = copy_peak(ops, stopwatch)};
}

}  // namespace engine
