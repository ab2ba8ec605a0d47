#include "kernels/elementwise.h"

#include "core/parallel.h"
#include "kernels/checks.h"
#include "kernels/convert.h"
#include "kernels/cpu_ops.h"

namespace engine::ENGINE_ISA {
namespace {

constexpr int64_t grain = 65536;  // elements: large enough to pay for handing it out

}  // namespace

void CpuOps::copy(const CopyArgs& args) {
  const char* name = "copy";
  if (args.x.count() != args.y.count())
    fail(name, ": x is ", args.x.shape.text(), ", y ", args.y.shape.text());
  require(args.x.count() == 0 || (args.x && args.y), name, ": x or y is missing");
  if (args.x.dtype == args.y.dtype) {
    const char* x = static_cast<const char*>(args.x.data);
    char* y = static_cast<char*>(args.y.data);
    parallel_chunks(static_cast<int64_t>(args.x.bytes()), 4 * grain, [&](int64_t begin, int64_t end) {
      convert(x + begin, y + begin, end - begin);
    });
    return;
  }
  check_activation(name, "x", args.x, args.x.rows(), args.x.cols());
  check_activation(name, "y", args.y, args.y.rows(), args.y.cols());
  with_elements(args.x, [&](auto* x) {
    with_elements(args.y, [&](auto* y) {
      parallel_chunks(args.x.count(), grain,
                      [&](int64_t begin, int64_t end) { convert(x + begin, y + begin, end - begin); });
    });
  });
}

void CpuOps::lerp(const LerpArgs& args) {
  check_vector("lerp", "x", args.x, DType::f32, args.x.count());
  check_vector("lerp", "y", args.y, DType::f32, args.x.count());
  const float* x = args.x.as<float>();
  float* y = args.y.as<float>();
  parallel_chunks(args.x.count(), grain, [&](int64_t begin, int64_t end) {
    each_vector(end - begin, [&](int64_t i, auto part) {
      const vfloat v = load(y + begin + i, part);
      store(y + begin + i, v + args.t * (load(x + begin + i, part) - v), part);
    });
  });
}

}  // namespace engine::ENGINE_ISA
