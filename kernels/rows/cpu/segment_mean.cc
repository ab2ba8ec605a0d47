#include "kernels/rows/segment_mean.h"

#include <algorithm>

#include "core/parallel.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/segments.h"
#include "kernels/cpu/vector_loop.h"

namespace engine::ENGINE_ISA {
namespace {

// y = the mean of the rows begin ... end-1 of x, 0 where there are none.
template <class X, class Y>
void write_mean(const X* x, int64_t begin, int64_t end, int64_t cols, Y* y) {
  const float rows = static_cast<float>(std::max<int64_t>(1, end - begin));
  each_vector(cols, [&](int64_t i, auto part) {
    vfloat total{};
    for (int64_t n = begin; n < end; ++n) total += load(x + n * cols + i, part);
    store(y + i, total / rows, part);
  });
}

}  // namespace

void CpuOps::segment_mean_forward(const SegmentMeanForwardArgs& args) {
  const Segments& segments = args.segments;
  check_segment_mean(args);
  check_segments("segment_mean_forward", segments, args.x.rows());
  const int32_t *begin = segments.begin.as<int32_t>(), *end = segments.end.as<int32_t>();
  // A piece has several short segments, so that it has enough to do.
  const int64_t cols = args.x.cols(), count = segments.count();
  const int64_t elements = std::max<int64_t>(1, args.x.count() / std::max<int64_t>(1, count));
  with_elements(args.x, [&](auto* x) {
    with_elements(args.y, [&](auto* y) {
      parallel_chunks(count, std::max<int64_t>(1, 16384 / elements), [&](int64_t first, int64_t last) {
        for (int64_t s = first; s < last; ++s) write_mean(x, begin[s], end[s], cols, y + s * cols);
      });
    });
  });
}

}  // namespace engine::ENGINE_ISA
