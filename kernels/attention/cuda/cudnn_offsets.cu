// Where the sequences of a batch lie, as cuDNN wants to know it.
#include "kernels/attention/cuda/arguments.h"
#include "kernels/attention/cuda/cudnn_attention.h"

namespace engine::cuda {

namespace {

// A block is a sequence, or the end; a thread one of the tensors.
__global__ void __launch_bounds__(warp_size) ragged_rows_kernel(const AttentionCommon a, const RaggedRows rows) {
  const int s = static_cast<int>(blockIdx.x), tensor = static_cast<int>(threadIdx.x);
  BlockSpan span{};
  if (s < a.sequences && !read_span(a, s, span)) span = {};
  if (s >= a.sequences) {  // where the last one ends
    span.query_begin = larger(0, smaller(a.query_end[a.sequences - 1], a.query_rows));
    span.key_begin = larger(0, smaller(a.key_end[a.sequences - 1], a.key_rows));
  }
  if (tensor < cudnn_tensors && rows.offsets[tensor]) {
    const bool of_keys = tensor == cudnn_k || tensor == cudnn_v || tensor == cudnn_dk || tensor == cudnn_dv;
    const int64_t row = of_keys ? span.key_begin : span.query_begin;
    rows.offsets[tensor][s] = static_cast<int32_t>(row * rows.strides[tensor]);
  }
  if (tensor > 0 || s >= rows.sequences) return;
  rows.query_counts[s] = span.queries;
  rows.key_counts[s] = span.keys;
}

template <class Args>
void find(const Args& a, const RaggedRows& rows, Fault* fault, cudaStream_t stream) {
  launch(ragged_rows_kernel, blocks(rows.sequences + 1), warp_size, 0, stream,
         AttentionCommon(a, a.q.width / a.heads, fault), rows);
}

}  // namespace

void find_ragged_rows(const AttentionForwardArgs& a, const RaggedRows& rows, Fault* fault, cudaStream_t stream) {
  find(a, rows, fault, stream);
}
void find_ragged_rows(const AttentionBackwardArgs& a, const RaggedRows& rows, Fault* fault, cudaStream_t stream) {
  find(a, rows, fault, stream);
}

}  // namespace engine::cuda
