#include "kernels/elementwise/elementwise.h"

#include "core/parallel.h"
#include "kernels/checks.h"
#include "kernels/cpu/convert.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/dropout.h"

namespace engine::ENGINE_ISA {
namespace {

constexpr int64_t grain = 65536;  // elements, enough to pay for handing a piece out

}  // namespace

void CpuOps::copy(const CopyArgs& args) {
  if (check_copy(args)) {
    const char* x = static_cast<const char*>(args.x.data);
    char* y = static_cast<char*>(args.y.data);
    parallel_chunks(static_cast<int64_t>(args.x.bytes()), 4 * grain, [&](int64_t begin, int64_t end) {
      convert(x + begin, y + begin, end - begin);
    });
    return;
  }
  with_elements(args.x, [&](auto* x) {
    with_elements(args.y, [&](auto* y) {
      parallel_chunks(args.x.count(), grain,
                      [&](int64_t begin, int64_t end) { convert(x + begin, y + begin, end - begin); });
    });
  });
}

void CpuOps::lerp(const LerpArgs& args) {
  check_lerp(args);
  const float* x = args.x.as<float>();
  float* y = args.y.as<float>();
  parallel_chunks(args.x.count(), grain, [&](int64_t begin, int64_t end) {
    each_vector(end - begin, [&](int64_t i, auto part) {
      const vfloat v = load(y + begin + i, part);
      store(y + begin + i, v + args.t * (load(x + begin + i, part) - v), part);
    });
  });
}

void CpuOps::dropout(const DropoutArgs& args) {
  check_dropout(args);
  const int64_t cols = args.x.cols();
  const float* residual = args.residual.as<float>();
  const bool drops = args.dropout.rate > 0;
  const int64_t first = args.dropout.first_row * cols;
  with_elements(args.x, [&](auto* x) {
    with_elements(args.y, [&](auto* y) {
      parallel_chunks(args.x.count(), grain, [&](int64_t begin, int64_t end) {
        DropoutFactors factors(args.dropout);
        each_vector(end - begin, [&](int64_t offset, auto part) {
          const int64_t i = begin + offset;
          vfloat v = load(x + i, part);
          if (drops) v *= factors.at(first + i);
          if (residual) v += load(residual + i, part);
          store(y + i, v, part);
        });
      });
    });
  });
}

}  // namespace engine::ENGINE_ISA
