#include "kernels/rows/segment_mean.h"

#include <algorithm>

#include "core/parallel.h"
#include "kernels/checks.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/vector_loop.h"

namespace engine::ENGINE_ISA {
namespace {

// Every segment lies inside the rows of x.
void check(const char* name, const char* x_name, const Tensor& x, const char* y_name, const Tensor& y,
           const Segments& segments) {
  check_segment_mean(name, x_name, x, y_name, y, segments);
  const int32_t *begin = segments.begin.as<int32_t>(), *end = segments.end.as<int32_t>();
  for (int64_t s = 0; s < segments.count(); ++s)
    require(0 <= begin[s] && begin[s] <= end[s] && end[s] <= x.rows(), name, ": segment ", s, " has the rows ",
            begin[s], " to ", end[s], " of ", x.rows());
}

// body(first row, row behind the last, s) for every segment, some together so that a piece has enough to do.
template <class Body>
void each_segment(const Segments& segments, int64_t rows, int64_t cols, const Body& body) {
  const int32_t *begin = segments.begin.as<int32_t>(), *end = segments.end.as<int32_t>();
  const int64_t count = segments.count(), elements = std::max<int64_t>(1, rows * cols / std::max<int64_t>(1, count));
  parallel_chunks(count, std::max<int64_t>(1, 16384 / elements), [&](int64_t first, int64_t last) {
    for (int64_t s = first; s < last; ++s) body(begin[s], end[s], s);
  });
}

}  // namespace

void CpuOps::segment_mean_forward(const SegmentMeanForwardArgs& args) {
  check("segment_mean_forward", "x", args.x, "y", args.y, args.segments);
  const int64_t cols = args.x.cols();
  with_elements(args.x, [&](auto* x) {
    with_elements(args.y, [&](auto* y) {
      each_segment(args.segments, args.x.rows(), cols, [&](int64_t begin, int64_t end, int64_t s) {
        const float rows = static_cast<float>(std::max<int64_t>(1, end - begin));
        each_vector(cols, [&](int64_t i, auto part) {
          vfloat total{};
          for (int64_t n = begin; n < end; ++n) total += load(x + n * cols + i, part);
          store(y + s * cols + i, total / rows, part);
        });
      });
    });
  });
}

void CpuOps::segment_mean_backward(const SegmentMeanBackwardArgs& args) {
  check("segment_mean_backward", "dx", args.dx, "dy", args.dy, args.segments);
  const int64_t cols = args.dx.cols();
  with_elements(args.dy, [&](auto* dy) {
    with_elements(args.dx, [&](auto* dx) {
      each_segment(args.segments, args.dx.rows(), cols, [&](int64_t begin, int64_t end, int64_t s) {
        each_vector(cols, [&](int64_t i, auto part) {
          const vfloat d = load(dy + s * cols + i, part) / static_cast<float>(end - begin);
          for (int64_t n = begin; n < end; ++n) store(dx + n * cols + i, d, part);
        });
      });
    });
  });
}

}  // namespace engine::ENGINE_ISA
