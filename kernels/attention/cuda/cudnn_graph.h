// Attention by cuDNN: one graph of its operation for one shape. See attention.h for the operation,
// attention/cuda/cudnn_attention.h for its use.
//
// cuDNN's tensors are [sequences, heads, rows, width] with strides; rows of a sequence that begins anywhere in a flat
// row of tokens are "ragged": an array of sequences + 1 element offsets says where each begins, and two arrays say how
// many queries and keys it has. So the columns of a fused q|k|v projection, packed batches and our lse [N, H] are used
// where they lie. The same statistics as ours are kept: natural log of the sum of exp(scores).
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace engine::cuda {

// The tensors, by the numbers under which a graph knows them; the offsets of tensor t have the number t + offsets_of.
enum CudnnTensor : int64_t {
  cudnn_q,
  cudnn_k,
  cudnn_v,
  cudnn_y,
  cudnn_lse,
  cudnn_dy,
  cudnn_dq,
  cudnn_dk,
  cudnn_dv,
  cudnn_tensors
};
inline constexpr int64_t cudnn_offsets_of = 16, cudnn_query_counts = 32, cudnn_key_counts = 33, cudnn_numbers = 34;

struct CudnnAttentionShape {
  bool is_backward = false, causal = false, keeps_lse = true;
  int64_t sequences = 0, heads = 0, queries = 0, keys = 0, width = 0;  // queries, keys: of the longest sequence
  std::array<int64_t, cudnn_tensors> row_strides{};                    // in elements; 0: not in this graph
  float scale = 1;

  auto operator<=>(const CudnnAttentionShape&) const = default;
};

// Whether libcudnn can be loaded, which also loads it; why not, in a line.
std::string why_no_cudnn();
// 91900 for 9.19.0; 0 where it is not there.
size_t cudnn_version();
// A cudnnHandle_t whose work goes to this stream (cudaStream_t).
void* make_cudnn_handle(void* stream);
void destroy_cudnn_handle(void* handle);

class CudnnAttentionGraph {
 public:
  // For the device of a handle (cudnnHandle_t). Without one, for a device described in cuDNN's JSON, it goes as far as
  // the plans that cuDNN chooses and supports there, which cannot be loaded, so it cannot run. An Error says what cuDNN
  // says against the shape.
  CudnnAttentionGraph(const CudnnAttentionShape& shape, void* handle, const std::string& described_device = "",
                      int compute_capability = 0);
  ~CudnnAttentionGraph();
  CudnnAttentionGraph(const CudnnAttentionGraph&) = delete;
  CudnnAttentionGraph& operator=(const CudnnAttentionGraph&) = delete;

  size_t workspace_bytes() const;
  // By number: device memory of every tensor, offset array and count array of the graph.
  void run(void* handle, const std::array<void*, cudnn_numbers>& memory, void* workspace) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace engine::cuda
