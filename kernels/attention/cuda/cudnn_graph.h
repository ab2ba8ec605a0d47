// One graph of cuDNN's attention, for one shape. attention.h describes the operation, and
// attention/cuda/cudnn_attention.h uses the graph.
//
// cuDNN's tensors are [sequences, heads, rows, width] with strides. Sequences that begin anywhere in a flat row of
// tokens are "ragged": an array of sequences + 1 element offsets says where each begins, and two arrays hold its counts
// of queries and keys. So cuDNN reads the columns of a fused q
// k
// v projection, packed batches and our lse [N, H] in place. It keeps the same statistics as our kernels: the natural
// log of the sum of exp(scores).
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace engine::cuda {

// Numbers the tensors of a graph. The matrices come first, in the order of AttentionBackward::matrices. The offsets of
// tensor t have the number t + cudnn_offsets_of.
enum CudnnTensor : int64_t {
  cudnn_q,
  cudnn_k,
  cudnn_v,
  cudnn_y,
  cudnn_dy,
  cudnn_dq,
  cudnn_dk,
  cudnn_dv,
  cudnn_lse,
  cudnn_tensors
};
constexpr bool is_of_keys(int64_t tensor) {
  return tensor == cudnn_k || tensor == cudnn_v || tensor == cudnn_dk || tensor == cudnn_dv;
}
inline constexpr int64_t cudnn_offsets_of = 16, cudnn_query_counts = 32, cudnn_key_counts = 33, cudnn_numbers = 34;

struct CudnnAttentionShape {
  bool is_backward = false, causal = false, keeps_lse = true;
  int64_t sequences = 0, heads = 0, queries = 0, keys = 0, width = 0;  // rows of the longest sequence
  std::array<int64_t, cudnn_tensors> row_strides{};                    // in elements, 0 where absent
  float scale = 1;

  auto operator<=>(const CudnnAttentionShape&) const = default;
};

// Loads libcudnn. Returns an empty text where it can be loaded, else the reason in a line.
std::string why_no_cudnn();
// Returns 91900 for version 9.19.0, and 0 where cuDNN is not there.
size_t cudnn_version();
// Returns a cudnnHandle_t whose work goes to this stream (cudaStream_t).
void* make_cudnn_handle(void* stream);
void destroy_cudnn_handle(void* handle);

class CudnnAttentionGraph {
 public:
  // Builds the graph for the device of a handle (cudnnHandle_t). Without a handle it uses a device described in cuDNN's
  // JSON, and goes as far as the plans that cuDNN chooses and supports there. Such a graph cannot run. Throws an Error
  // with cuDNN's reason against the shape.
  CudnnAttentionGraph(const CudnnAttentionShape& shape, void* handle, const std::string& described_device = "",
                      int compute_capability = 0);
  ~CudnnAttentionGraph();
  CudnnAttentionGraph(const CudnnAttentionGraph&) = delete;
  CudnnAttentionGraph& operator=(const CudnnAttentionGraph&) = delete;

  size_t workspace_bytes() const;
  // Runs the graph. `memory` holds, by number, the device memory of every tensor, offset array and count array.
  void run(void* handle, const std::array<void*, cudnn_numbers>& memory, void* workspace) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace engine::cuda
