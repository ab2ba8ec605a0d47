#include "kernels/attention/cuda/cudnn_attention.h"

#include <algorithm>
#include <bit>
#include <iostream>

#include "core/error.h"
#include "kernels/attention/cuda/arguments.h"
#include "kernels/backend/cuda_backend.h"
#include "kernels/cuda/launch.h"
#include "kernels/sizes.h"

namespace engine::cuda {

namespace {

// Tells cuDNN where the sequences of a batch lie: element offsets for each tensor with a stride, and counts of rows.
struct RaggedRows {
  int sequences = 0;  // sequences of the graph, the last ones empty
  int64_t strides[cudnn_tensors] = {};
  int32_t* offsets[cudnn_tensors] = {};                    // [sequences + 1]
  int32_t *query_counts = nullptr, *key_counts = nullptr;  // [sequences]
};

// Writes them. A block takes a sequence, or the end, and a thread takes a tensor. A sequence whose rows are not rows of
// the matrices, or are more than the longest, is a fault and has no rows.
__global__ void __launch_bounds__(warp_size) ragged_rows_kernel(const AttentionCommon a, const RaggedRows rows) {
  const int s = static_cast<int>(blockIdx.x), tensor = static_cast<int>(threadIdx.x);
  BlockSpan span{};
  if (s < a.sequences && !read_span(a, s, span)) span = {};
  if (s >= a.sequences) {  // the end of the last sequence
    span.query_begin = larger(0, smaller(a.query_end[a.sequences - 1], a.query_rows));
    span.key_begin = larger(0, smaller(a.key_end[a.sequences - 1], a.key_rows));
  }
  if (tensor < cudnn_tensors && rows.offsets[tensor]) {
    const int64_t row = is_of_keys(tensor) ? span.key_begin : span.query_begin;
    rows.offsets[tensor][s] = static_cast<int32_t>(row * rows.strides[tensor]);
  }
  if (tensor > 0 || s >= rows.sequences) return;
  rows.query_counts[s] = span.queries;
  rows.key_counts[s] = span.keys;
}

// Returns whether cuDNN may do these arguments, by the conditions in cudnn_attention.h.
template <class Arguments>
bool takes(const Arguments& a) {
  const bool same_segments = a.query_begin == a.key_begin && a.query_end == a.key_end;
  const auto is_small = [](int rows, const DeviceMatrix& m) { return int64_t{rows} * m.stride < int64_t{1} << 31; };
  const auto matrices = a.matrices();
  for (size_t i = 0; i < matrices.size(); ++i)
    if (!is_small(is_of_keys(static_cast<int64_t>(i)) ? a.key_rows : a.query_rows, *matrices[i])) return false;
  return !a.drops && a.width >= 32 && a.width <= 128 && same_segments && a.sequences > 0 && a.longest_query > 0 &&
         all_bf16(a) && all_take_vectors(a);
}

// Rounds up to a quarter of the power of two below: 1, 2, 3, 4, 5, ... 8, 10, 12, 14, 16, 20, ...
int64_t rounded_to_quarter(int64_t count) {
  const auto power = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(count)));
  return rounded_up(count, std::max<int64_t>(power / 4, 1));
}

// Rounds the number of sequences and the longest one up, so that graphs are few. Sequences that the batch does not have
// get no rows. No graph is ever dropped, since captured steps and work under way name its kernels. Of at most 16,384
// tokens in sequences of at most 1,024 a training can meet some hundred pairs of these numbers, and a handful where its
// batches are alike.
CudnnAttentionShape shape_of(const AttentionCommon& a) {
  constexpr int64_t granule = 64;
  const auto longest = [](int rows) { return granule * rounded_to_quarter(cut(rows, granule)); };
  CudnnAttentionShape shape;
  shape.causal = a.causal;
  shape.sequences = rounded_to_quarter(a.sequences);
  shape.heads = a.heads;
  shape.queries = longest(a.longest_query);
  shape.keys = longest(a.longest_key);
  shape.width = a.width;
  shape.scale = a.scale;
  return shape;
}

}  // namespace

std::string cudnn_description() {
  const size_t version = cudnn_version();
  if (!version) return "cuDNN: " + why_no_cudnn();
  return "cuDNN: " + std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100) + ", for attention = \"cudnn\"";
}

CudnnAttention::CudnnAttention(const Device& device, Arena& workspace) : device_(device), workspace_(workspace) {
  if (const std::string problem = why_no_cudnn(); !problem.empty())
    fail_usage("attention = \"cudnn\", but ", problem, ": set attention = \"own\"");
  handle_ = make_cudnn_handle(device.compute_stream());
}
CudnnAttention::~CudnnAttention() { destroy_cudnn_handle(handle_); }

const CudnnAttentionGraph* CudnnAttention::graph_of(const CudnnAttentionShape& shape) {
  const auto found = graphs_.find(shape);
  if (found != graphs_.end()) return found->second.get();
  std::unique_ptr<CudnnAttentionGraph>& graph = graphs_[shape];
  try {
    graph = std::make_unique<CudnnAttentionGraph>(shape, handle_);
  } catch (const Error& error) {
    const std::string kind = detail::joined(shape.is_backward ? "backward " : "forward ", shape.causal ? "causal " : "",
                                            "attention of ", shape.heads, " heads ", shape.width, " wide");
    if (told_.insert(kind).second)
      std::cerr << "note: our own kernels do " << kind << ", which cuDNN does not take: " << error.what() << "\n";
  }
  return graph.get();
}

template <class Arguments>
bool CudnnAttention::run(const Arguments& a) {
  if (!takes(a)) return false;
  CudnnAttentionShape shape = shape_of(a);
  std::array<void*, cudnn_numbers> memory{};
  const auto matrices = a.matrices();
  for (size_t i = 0; i < matrices.size(); ++i) {
    memory[i] = matrices[i]->data;
    shape.row_strides[i] = matrices[i]->stride;
  }
  if (a.lse) {
    memory[cudnn_lse] = a.lse;
    shape.row_strides[cudnn_lse] = a.heads;
  }
  shape.is_backward = std::is_same_v<Arguments, AttentionBackward>;
  shape.keeps_lse = a.lse != nullptr;
  const CudnnAttentionGraph* const graph = graph_of(shape);
  if (!graph) return false;
  ArenaScope scope(workspace_);
  const auto integers = [&](int64_t count) { return workspace_.make(DType::i32, {count}).template as<int32_t>(); };
  RaggedRows rows;
  rows.sequences = static_cast<int>(shape.sequences);
  for (size_t i = 0; i < cudnn_tensors; ++i) {
    if (shape.row_strides[i] == 0) continue;
    rows.strides[i] = shape.row_strides[i];
    rows.offsets[i] = integers(shape.sequences + 1);
    memory[i + cudnn_offsets_of] = rows.offsets[i];
  }
  memory[cudnn_query_counts] = rows.query_counts = integers(shape.sequences);
  memory[cudnn_key_counts] = rows.key_counts = integers(shape.sequences);
  launch(ragged_rows_kernel, blocks(rows.sequences + 1), warp_size, 0, device_.compute_stream(), a, rows);
  graph->run(handle_, memory, workspace_.make(DType::u8, {static_cast<int64_t>(graph->workspace_bytes())}).data);
  wait_if_synchronous(device_.compute_stream());
  return true;
}

bool CudnnAttention::forward(const AttentionForward& arguments) { return run(arguments); }
bool CudnnAttention::backward(const AttentionBackward& arguments) { return run(arguments); }

}  // namespace engine::cuda
