// cuDNN's fused attention as a second implementation of the attention operation. It is used where the environment
// variable ENGINE_ATTENTION is cudnn, and then for what it takes; everything else is done by our own kernels.
//
// What it takes: bf16 throughout, heads 32 to 128 wide in steps of 8, queries and keys of the same segments (elsewhere
// a query might see no key, of which cuDNN does not promise zeros), no dropout (its random numbers are not ours), rows
// that begin at multiples of 16 bytes; backward, which has to be deterministic, on devices from sm_90.
#pragma once

#include <cuda_runtime.h>

#include <map>
#include <memory>
#include <string>

#include "core/arena.h"
#include "core/cuda_device.h"
#include "kernels/cudnn_graph_cuda.h"
#include "kernels/ops.h"

namespace engine::cuda {

// Whether an operation is to be done by CudnnAttention: it is asked for, can be loaded, and takes these arguments.
bool cudnn_attention_supports(const AttentionForwardArgs& args);
bool cudnn_attention_supports(const AttentionBackwardArgs& args);

// Element offsets of every sequence's first row, sequences + 1 of them for each tensor that has a stride, and the
// sequences' counts of rows; all i32.
struct RaggedRows {
  int64_t strides[cudnn_tensors] = {};
  int32_t* offsets[cudnn_tensors] = {};
  int32_t *query_counts = nullptr, *key_counts = nullptr;
};
void find_ragged_rows(const Segments& queries, const Segments& keys, const RaggedRows& rows, cudaStream_t stream);

// One per backend; a graph is built for every shape when it is first seen and kept.
class CudnnAttention {
 public:
  CudnnAttention(const Device& device, Arena& workspace);
  ~CudnnAttention();
  void forward(const AttentionForwardArgs& args);
  void backward(const AttentionBackwardArgs& args);

 private:
  void run(const CudnnAttentionShape& shape, const Segments& queries, const Segments& keys,
           std::array<void*, cudnn_numbers>& memory);

  const Device& device_;
  Arena& workspace_;
  void* handle_;
  std::map<CudnnAttentionShape, CudnnAttentionGraph> graphs_;
};

}  // namespace engine::cuda
