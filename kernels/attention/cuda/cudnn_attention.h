// cuDNN's fused attention as a second implementation of the attention operation. It is used where the option attention
// is cudnn, and then for what it takes; everything else is done by our own kernels.
//
// What it takes: bf16 throughout, heads 32 to 128 wide in steps of 8, queries and keys of the same segments (elsewhere
// a query might see no key, of which cuDNN does not promise zeros), no dropout (its random numbers are not ours), rows
// that begin at multiples of 16 bytes. Of these it may refuse some: backward, which has to be deterministic, before
// sm_90, or what is newer than the library.
//
// Which of the two does an operation follows from its shape, the device and the library alone, and each gives the same
// bits every time.
#pragma once

#include <cuda_runtime.h>

#include <map>
#include <memory>
#include <set>
#include <string>

#include "core/arena.h"
#include "core/cuda/device.h"
#include "kernels/attention/cuda/cudnn_graph.h"
#include "kernels/ops.h"

namespace engine::cuda {

// For each tensor that has a stride, element offsets of the first rows of `sequences` sequences and of the end; their
// counts of rows; all i32.
struct RaggedRows {
  int sequences = 0;  // as many as the graph has, which may be more than there are: those are without rows
  int64_t strides[cudnn_tensors] = {};
  int32_t* offsets[cudnn_tensors] = {};
  int32_t *query_counts = nullptr, *key_counts = nullptr;
};
// A sequence whose rows are not rows of the matrices, or more than the longest, is a fault, and has none.
void find_ragged_rows(const AttentionForwardArgs& args, const RaggedRows& rows, Fault* fault, cudaStream_t stream);
void find_ragged_rows(const AttentionBackwardArgs& args, const RaggedRows& rows, Fault* fault, cudaStream_t stream);

// One per backend. A graph is built for every shape when it is first seen, and kept.
class CudnnAttention {
 public:
  // A UsageError where there is no cuDNN.
  CudnnAttention(const Device& device, Arena& workspace);
  ~CudnnAttention();
  CudnnAttention(const CudnnAttention&) = delete;
  CudnnAttention& operator=(const CudnnAttention&) = delete;

  // Arguments have been checked. False, and nothing is done, where it does not take them; what cuDNN itself refuses is
  // told once for each kind of attention.
  bool forward(const AttentionForwardArgs& args);
  bool backward(const AttentionBackwardArgs& args);

 private:
  template <class Args>
  bool run(const Args& args);
  const CudnnAttentionGraph* graph_of(const CudnnAttentionShape& shape);  // null where it is refused

  const Device& device_;
  Arena& workspace_;
  void* handle_ = nullptr;
  std::map<CudnnAttentionShape, std::unique_ptr<CudnnAttentionGraph>> graphs_;
  std::set<std::string> told_;  // kinds of attention that were refused
};

}  // namespace engine::cuda
