#include "kernels/attention/cuda/cudnn_attention.h"

#include <algorithm>
#include <bit>
#include <iostream>

#include "core/error.h"
#include "kernels/backend/cuda_backend.h"
#include "kernels/cuda/launch.h"
#include "kernels/sizes.h"

namespace engine::cuda {

namespace {

bool takes(const Columns& columns) {
  const Tensor& m = columns.matrix;
  return m.dtype == DType::bf16 && reinterpret_cast<uintptr_t>(m.data) % 16 == 0 && columns.begin % 8 == 0 &&
         m.cols() % 8 == 0 && m.count() < int64_t{1} << 31;
}

template <class Args>
bool takes_common(const Args& a) {
  const int64_t width = a.q.width / std::max(a.heads, 1);
  const bool same_segments = a.queries.begin.data == a.keys.begin.data && a.queries.end.data == a.keys.end.data;
  return a.relative.distances == 0 && a.dropout.rate == 0 && width % 8 == 0 && width >= 32 && width <= 128 &&
         same_segments && a.queries.count() > 0 && a.queries.longest > 0 && takes(a.q) && takes(a.k) && takes(a.v) &&
         takes(a.y);
}

bool takes_all(const AttentionForwardArgs& a) { return takes_common(a); }
bool takes_all(const AttentionBackwardArgs& a) {
  return takes_common(a) && takes(a.dy) && takes(a.dq) && takes(a.dk) && takes(a.dv);
}

// Upwards to a quarter of the power of two below: 1, 2, 3, 4, 5, ... 8, 10, 12, 14, 16, 20, ...
int64_t rounded_to_quarter(int64_t count) {
  const auto power = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(count)));
  return rounded_up(count, std::max<int64_t>(power / 4, 1));
}

// The number of sequences and the longest one are rounded up: the sequences that are not there have no rows. So graphs
// are few, and none need ever be dropped, which neither a captured step that names its kernels nor one under way on the
// device would bear: of 16,384 tokens at most, in sequences of 1,024 at most, a training can meet some hundred pairs of
// these numbers, and one whose batches are alike meets a handful.
template <class Args>
CudnnAttentionShape shape_of(const Args& a) {
  constexpr int64_t granule = 64;
  const auto longest = [](const Segments& segments) {
    return granule * rounded_to_quarter(ceil_div(segments.longest, granule));
  };
  CudnnAttentionShape shape;
  shape.causal = a.causal;
  shape.sequences = rounded_to_quarter(a.queries.count());
  shape.heads = a.heads;
  shape.queries = longest(a.queries);
  shape.keys = longest(a.keys);
  shape.width = a.q.width / a.heads;
  shape.scale = a.scale;
  return shape;
}

// The tensors of an operation: into the shape their strides, into memory where they lie.
struct Tensors {
  CudnnAttentionShape& shape;
  std::array<void*, cudnn_numbers>& memory;

  void use(CudnnTensor which, const Columns& columns) const {
    const Tensor& m = columns.matrix;
    memory[which] = static_cast<char*>(m.data) + columns.begin * static_cast<int64_t>(size_of(m.dtype));
    shape.row_strides[which] = m.cols();
  }
  void use_all(const AttentionForwardArgs& a) const {
    use(cudnn_q, a.q), use(cudnn_k, a.k), use(cudnn_v, a.v), use(cudnn_y, a.y);
    shape.keeps_lse = static_cast<bool>(a.lse);
    if (a.lse) use(cudnn_lse, a.lse);
  }
  void use_all(const AttentionBackwardArgs& a) const {
    shape.is_backward = true;
    use(cudnn_q, a.q), use(cudnn_k, a.k), use(cudnn_v, a.v), use(cudnn_y, a.y), use(cudnn_lse, a.lse);
    use(cudnn_dy, a.dy), use(cudnn_dq, a.dq), use(cudnn_dk, a.dk), use(cudnn_dv, a.dv);
  }
};

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

template <class Args>
bool CudnnAttention::run(const Args& a) {
  if (!takes_all(a)) return false;
  CudnnAttentionShape shape = shape_of(a);
  std::array<void*, cudnn_numbers> memory{};
  Tensors{shape, memory}.use_all(a);
  const CudnnAttentionGraph* const graph = graph_of(shape);
  if (!graph) return false;
  ArenaScope scope(workspace_);
  const auto integers = [&](int64_t count) { return workspace_.make(DType::i32, {count}).as<int32_t>(); };
  RaggedRows rows{.sequences = static_cast<int>(shape.sequences)};
  for (size_t i = 0; i < cudnn_tensors; ++i) {
    if (shape.row_strides[i] == 0) continue;
    rows.strides[i] = shape.row_strides[i];
    rows.offsets[i] = integers(shape.sequences + 1);
    memory[i + cudnn_offsets_of] = rows.offsets[i];
  }
  memory[cudnn_query_counts] = rows.query_counts = integers(shape.sequences);
  memory[cudnn_key_counts] = rows.key_counts = integers(shape.sequences);
  find_ragged_rows(a, rows, device_.fault(), device_.compute_stream());
  graph->run(handle_, memory, workspace_.make(DType::u8, {static_cast<int64_t>(graph->workspace_bytes())}).data);
  wait_if_synchronous(device_.compute_stream());
  return true;
}

bool CudnnAttention::forward(const AttentionForwardArgs& a) { return run(a); }
bool CudnnAttention::backward(const AttentionBackwardArgs& a) { return run(a); }

}  // namespace engine::cuda
