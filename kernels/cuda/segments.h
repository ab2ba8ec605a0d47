// Kernels over segments share these.
#pragma once

#include "core/cuda/device.h"
#include "kernels/arguments.h"
#include "kernels/cuda/block.h"

namespace engine::cuda {

// The segments of a matrix's rows as a kernel takes them.
struct SegmentRows {
  const int *begin, *end;
  int rows;        // rows of the matrix
  FaultKind kind;  // names the operation
  FaultReport fault;

  SegmentRows(const Segments& segments, const Tensor& matrix, FaultKind kind_, FaultReport of_device)
      : begin(segments.begin.as<int32_t>()), end(segments.end.as<int32_t>()), rows(static_cast<int>(matrix.rows())),
        kind(kind_), fault(of_device) {}
};

// Reports a fault and returns false where segment s is not rows of the matrix. A whole block calls it.
__device__ __forceinline__ bool is_inside(const SegmentRows& segments, int s) {
  const int begin = segments.begin[s], end = segments.end[s];
  if (0 <= begin && begin <= end && end <= segments.rows) return true;
  if (threadIdx.x == 0) report_fault(segments.fault, segments.kind, s, end - 1, segments.rows);
  return false;
}

}  // namespace engine::cuda
