// Measures what a device reaches at the most in this program.
#pragma once

#include "core/stopwatch.h"
#include "kernels/ops.h"

namespace engine {

struct Peaks {
  double f32 = 0, bf16 = 0;     // FLOP/s of square matrix products
  double bytes_per_second = 0;  // of a copy that no cache holds, read and written bytes together

  double flops_per_second(DType compute) const { return compute == DType::bf16 ? bf16 : f32; }
};

// Takes the best of a few runs of matmul and copy, larger and larger ones, in less than a second on a usual machine.
Peaks measure_peaks(Ops& ops, Stopwatch& stopwatch);

}  // namespace engine
