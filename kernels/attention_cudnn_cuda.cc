#include "kernels/attention_cudnn_cuda.h"

#include <algorithm>
#include <cstdlib>
#include <string>

#include "core/error.h"
#include "kernels/cuda_backend.h"
#include "kernels/sizes.h"

namespace engine::cuda {

#ifdef ENGINE_CUDNN

namespace {

bool is_asked_for() {
  static const std::string choice = [] {
    const char* const variable = std::getenv("ENGINE_ATTENTION");
    return std::string(variable ? variable : "own");
  }();
  if (choice != "own" && choice != "cudnn") fail_usage("ENGINE_ATTENTION is \"", choice, "\", not own or cudnn");
  if (choice == "cudnn" && !why_no_cudnn().empty()) fail("ENGINE_ATTENTION is cudnn, but ", why_no_cudnn());
  return choice == "cudnn";
}

bool takes(const Columns& columns) {
  const Tensor& m = columns.matrix;
  return m.dtype == DType::bf16 && reinterpret_cast<uintptr_t>(m.data) % 16 == 0 && columns.begin % 8 == 0 &&
         m.cols() % 8 == 0 && m.count() < int64_t{1} << 31;
}

template <class Args>
bool takes_common(const Args& a) {
  const int64_t width = a.q.width / std::max(a.heads, 1);
  const bool same_segments = a.queries.begin.data == a.keys.begin.data && a.queries.end.data == a.keys.end.data;
  return is_asked_for() && a.dropout.rate == 0 && width % 8 == 0 && width >= 32 && width <= 128 && same_segments &&
         a.queries.count() > 0 && a.queries.longest > 0 && takes(a.q) && takes(a.k) && takes(a.v) && takes(a.y);
}

int device_major() {
  static const int major = [] {
    cudaDeviceProp properties;
    check(cudaGetDeviceProperties(&properties, 0), "cudaGetDeviceProperties");
    return properties.major;
  }();
  return major;
}

// Longest sequences are rounded up, so that batches of about one length have one graph.
template <class Args>
CudnnAttentionShape shape_of(const Args& a) {
  constexpr int64_t granule = 64;
  CudnnAttentionShape shape;
  shape.causal = a.causal;
  shape.sequences = a.queries.count();
  shape.heads = a.heads;
  shape.queries = rounded_up(a.queries.longest, granule);
  shape.keys = rounded_up(a.keys.longest, granule);
  shape.width = a.q.width / a.heads;
  shape.scale = a.scale;
  return shape;
}

void put(CudnnAttentionShape& shape, std::array<void*, cudnn_numbers>& memory, CudnnTensor which,
         const Columns& columns) {
  const Tensor& m = columns.matrix;
  memory[which] = static_cast<char*>(m.data) + columns.begin * static_cast<int64_t>(size_of(m.dtype));
  shape.row_strides[which] = m.cols();
}

}  // namespace

bool cudnn_attention_supports(const AttentionForwardArgs& a) { return takes_common(a); }
bool cudnn_attention_supports(const AttentionBackwardArgs& a) {
  const int major = device_major();
  return takes_common(a) && takes(a.dy) && takes(a.dq) && takes(a.dk) && takes(a.dv) && (major == 9 || major == 10);
}

std::string cudnn_description() {
  const size_t version = cudnn_version();
  if (!version) return "cuDNN: " + why_no_cudnn();
  return "cuDNN: " + std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100) + ", attention with ENGINE_ATTENTION=cudnn";
}

CudnnAttention::CudnnAttention(const Device& device, Arena& workspace)
    : device_(device), workspace_(workspace), handle_(make_cudnn_handle(device.compute_stream())) {}
CudnnAttention::~CudnnAttention() { destroy_cudnn_handle(handle_); }

void CudnnAttention::run(const CudnnAttentionShape& shape, const Segments& queries, const Segments& keys,
                         std::array<void*, cudnn_numbers>& memory) {
  ArenaScope scope(workspace_);
  const auto integers = [&](int64_t count) { return workspace_.make(DType::i32, {count}).as<int32_t>(); };
  RaggedRows rows;
  for (size_t i = 0; i < cudnn_tensors; ++i) {
    if (shape.row_strides[i] == 0) continue;
    rows.strides[i] = shape.row_strides[i];
    rows.offsets[i] = integers(shape.sequences + 1);
    memory[i + cudnn_offsets_of] = rows.offsets[i];
  }
  memory[cudnn_query_counts] = rows.query_counts = integers(shape.sequences);
  memory[cudnn_key_counts] = rows.key_counts = integers(shape.sequences);
  find_ragged_rows(queries, keys, rows, device_.compute_stream());
  auto found = graphs_.find(shape);
  if (found == graphs_.end()) found = graphs_.emplace(shape, CudnnAttentionGraph(shape, handle_)).first;
  const CudnnAttentionGraph& graph = found->second;
  graph.run(handle_, memory, workspace_.make(DType::u8, {static_cast<int64_t>(graph.workspace_bytes())}).data);
}

void CudnnAttention::forward(const AttentionForwardArgs& a) {
  CudnnAttentionShape shape = shape_of(a);
  std::array<void*, cudnn_numbers> memory{};
  const auto use = [&](CudnnTensor which, const Columns& columns) { put(shape, memory, which, columns); };
  use(cudnn_q, a.q), use(cudnn_k, a.k), use(cudnn_v, a.v), use(cudnn_y, a.y);
  shape.keeps_lse = static_cast<bool>(a.lse);
  if (a.lse) use(cudnn_lse, a.lse);
  run(shape, a.queries, a.keys, memory);
}

void CudnnAttention::backward(const AttentionBackwardArgs& a) {
  CudnnAttentionShape shape = shape_of(a);
  shape.is_backward = true;
  std::array<void*, cudnn_numbers> memory{};
  const auto use = [&](CudnnTensor which, const Columns& columns) { put(shape, memory, which, columns); };
  use(cudnn_q, a.q), use(cudnn_k, a.k), use(cudnn_v, a.v), use(cudnn_y, a.y), use(cudnn_lse, a.lse);
  use(cudnn_dy, a.dy), use(cudnn_dq, a.dq), use(cudnn_dk, a.dk), use(cudnn_dv, a.dv);
  run(shape, a.queries, a.keys, memory);
}

#else

bool cudnn_attention_supports(const AttentionForwardArgs&) { return false; }
bool cudnn_attention_supports(const AttentionBackwardArgs&) { return false; }
std::string cudnn_description() { return "cuDNN: not in this build (make deps brings what it needs)"; }

// Never made: nothing is supported.
CudnnAttention::CudnnAttention(const Device& device, Arena& workspace)
    : device_(device), workspace_(workspace), handle_(nullptr) {}
CudnnAttention::~CudnnAttention() = default;
void CudnnAttention::forward(const AttentionForwardArgs&) { fail(cudnn_description()); }
void CudnnAttention::backward(const AttentionBackwardArgs&) { fail(cudnn_description()); }

#endif

}  // namespace engine::cuda
