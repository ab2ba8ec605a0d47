// Where the sequences of a batch lie, as cuDNN wants to know it.
#include "kernels/attention_cudnn_cuda.h"
#include "kernels/cuda_block.h"
#include "kernels/cuda_launch.h"
#include "kernels/sizes.h"

namespace engine::cuda {

namespace {

constexpr unsigned threads = 128;

__global__ void __launch_bounds__(threads)
    ragged_rows_kernel(const int32_t* query_begin, const int32_t* query_end, const int32_t* key_begin,
                       const int32_t* key_end, int sequences, RaggedRows rows) {
  const int s = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (s > sequences) return;
  const bool exists = s < sequences;
  for (int tensor = 0; tensor < cudnn_tensors; ++tensor) {
    if (!rows.offsets[tensor]) continue;
    const bool of_keys = tensor == cudnn_k || tensor == cudnn_v || tensor == cudnn_dk || tensor == cudnn_dv;
    const int32_t* const begin = of_keys ? key_begin : query_begin;
    const int32_t* const end = of_keys ? key_end : query_end;
    const int64_t row = exists ? begin[s] : end[sequences - 1];
    rows.offsets[tensor][s] = static_cast<int32_t>(row * rows.strides[tensor]);
  }
  if (!exists) return;
  rows.query_counts[s] = query_end[s] - query_begin[s];
  rows.key_counts[s] = key_end[s] - key_begin[s];
}

}  // namespace

void find_ragged_rows(const Segments& queries, const Segments& keys, const RaggedRows& rows, cudaStream_t stream) {
  launch(ragged_rows_kernel, blocks(cut(queries.count() + 1, threads)), threads, 0, stream, queries.begin.as<int32_t>(),
         queries.end.as<int32_t>(), keys.begin.as<int32_t>(), keys.end.as<int32_t>(), static_cast<int>(queries.count()),
         rows);
}

}  // namespace engine::cuda
