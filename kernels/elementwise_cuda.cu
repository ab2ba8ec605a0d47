#include "kernels/checks.h"
#include "kernels/cuda_block.h"
#include "kernels/cuda_launch.h"
#include "kernels/cuda_ops.h"
#include "kernels/elementwise.h"
#include "kernels/sizes.h"

namespace engine::cuda {

namespace {

constexpr unsigned threads = 256;

// 16 bytes of the narrower dtype a thread, the ragged end by its last one.
template <class From, class To>
__global__ void cast_kernel(const From* x, To* y, int64_t count) {
  constexpr int width = 16 / (sizeof(From) > sizeof(To) ? sizeof(From) : sizeof(To));
  const int64_t begin = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * width;
  for (int64_t i = begin; i < begin + width && i < count; ++i) y[i] = from_float<To>(to_float(x[i]));
}

__global__ void lerp_kernel(const float* x, float* y, float t, int64_t count) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < count) y[i] += t * (x[i] - y[i]);
}

}  // namespace

void CudaOps::lerp(const LerpArgs& a) {
  const Operation operation("lerp", {a.x, a.y});
  check_vector("lerp", "x", a.x, DType::f32, a.x.count());
  check_vector("lerp", "y", a.y, DType::f32, a.x.count());
  launch(lerp_kernel, blocks(cut(a.x.count(), threads)), threads, 0, stream(), a.x.as<float>(), a.y.as<float>(), a.t,
         a.x.count());
}

}  // namespace engine::cuda
