// Ranks on a device. A block takes a row and reads it once, 16 bytes at a time: 4 or 2 bytes a token. A vocabulary is
// rarely a multiple of anything, so that rows begin anywhere. The block reads the elements before a row's first 16-byte
// boundary and behind its last one by one. Counts are whole numbers, whose sum is the same in any order.
#include "kernels/sampling/rank.h"

#include <algorithm>

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/dispatch.h"
#include "kernels/cuda/launch.h"
#include "kernels/sampling/cuda/logit_order.h"
#include "kernels/sizes.h"

namespace engine::cuda {
namespace {

template <class T>
__global__ void __launch_bounds__(1024)
    rank_kernel(const T* all_logits, const int32_t* tokens, int32_t* ranks, int vocabulary, FaultReport fault) {
  constexpr int width = Vector16<T>::size;
  const int thread = static_cast<int>(threadIdx.x), token = tokens[blockIdx.x];
  if (token < 0 || token >= vocabulary) {
    if (thread > 0) return;
    ranks[blockIdx.x] = 0;
    report_fault(fault, FaultKind::ranked_token, static_cast<int>(blockIdx.x), token, vocabulary);
    return;
  }
  const T* const logits = all_logits + int64_t{blockIdx.x} * vocabulary;
  const float own = to_float(logits[token]);
  unsigned above = 0;
  const auto look_at = [&](T element) {
    const float logit = to_float(element);
    above += logit == logit && !(logit <= own);
  };
  const int past = static_cast<int>(reinterpret_cast<uintptr_t>(logits) % 16 / sizeof(T));
  const int first = past ? min(width - past, vocabulary) : 0, rest = (vocabulary - first) % width;
  if (thread < first) look_at(logits[thread]);
  if (thread < rest) look_at(logits[vocabulary - rest + thread]);
  for (int v = first + thread * width; v + width <= vocabulary; v += static_cast<int>(blockDim.x) * width) {
    const Vector16<T> vector = load_vector(logits + v);
    ENGINE_UNROLL
    for (int i = 0; i < width; ++i) look_at(vector.at[i]);
  }
  const uint64_t total = block_sum(uint64_t{above});
  if (thread == 0) ranks[blockIdx.x] = 1 + static_cast<int>(total);
}

}  // namespace

void CudaOps::rank(const RankArgs& args) {
  const Operation operation("rank", {args.logits, args.tokens});
  check_rank(args);
  const int64_t rows = args.tokens.count(), vocabulary = args.logits.cols();
  with_device_elements(args.logits, [&]<class T>(const T* logits) {
    launch(rank_kernel<T>, blocks(rows), threads_of_row(vocabulary, 32), 0, stream(), logits, args.tokens.as<int32_t>(),
           args.ranks.as<int32_t>(), vocabulary, device_.fault());
  });
}

}  // namespace engine::cuda
