#include "kernels/attention/cuda/cudnn_attention.h"

#include <algorithm>
#include <bit>
#include <iostream>
#include <utility>

#include "core/error.h"
#include "kernels/attention/cuda/arguments.h"
#include "kernels/backend/cuda_backend.h"
#include "kernels/cuda/launch.h"
#include "kernels/sizes.h"

namespace engine::cuda {

namespace {

// Sequences without rows are right from this version on.
constexpr size_t takes_empty_sequences = 92500;
// A graph may not want more, so that a long sequence does not take the memory of a model.
constexpr size_t most_workspace = size_t{512} << 20;

// Says what we expect of cuDNN beside our own kernels, by compute capability. The last row at or below a device's
// holds.
struct Expectation {
  int capability;
  size_t least_version;
  bool forward, backward;  // cuDNN is faster
  const char* reason;
};
constexpr Expectation expectations[] = {
    {80, takes_empty_sequences, false, false, "both use mma.sync, and it has no deterministic ragged gradients"},
    {90, takes_empty_sequences, true, true, "it uses wgmma and TMA, ours mma.sync and cp.async: 3 times expected"},
    {100, takes_empty_sequences, true, true, "it uses tcgen05 and TMA, ours mma.sync and cp.async"},
};
const Expectation& expectation_of(int capability) {
  const Expectation* found = &expectations[0];
  for (const Expectation& row : expectations)
    if (row.capability <= capability) found = &row;
  return *found;
}

// Tells cuDNN where the sequences of a batch lie: element offsets for each tensor with a stride, and counts of rows.
struct RaggedRows {
  int sequences = 0;  // sequences of the graph, the last ones empty
  bool takes_empty = false;
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
  if (s < a.sequences && span.queries == 0 && !rows.takes_empty && tensor == 0)
    report_fault(a.fault, FaultKind::empty_segment, s, 0, 0);
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
CudnnAttentionShape shape_of(const AttentionCommon& a, bool takes_empty) {
  constexpr int64_t granule = 64;
  const auto longest = [](int rows) { return granule * rounded_to_quarter(ceil_div(rows, granule)); };
  CudnnAttentionShape shape;
  shape.causal = a.causal;
  shape.sequences = takes_empty ? rounded_to_quarter(a.sequences) : a.sequences;
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
         std::to_string(version % 100) + ", for attention = \"auto\" and \"cudnn\"";
}

bool cudnn_is_expected_faster(int capability, size_t version, bool is_backward) {
  const Expectation& expectation = expectation_of(capability);
  return version >= expectation.least_version && (is_backward ? expectation.backward : expectation.forward);
}

std::unique_ptr<CudnnAttention> CudnnAttention::make(const Device& device, Arena& workspace,
                                                     const std::string& choice) {
  if (choice == "own") return nullptr;
  const bool by_name = choice == "cudnn";
  const Expectation& expectation = expectation_of(device.capability());
  if (!by_name && !expectation.forward && !expectation.backward) return nullptr;
  const std::string problem = why_no_cudnn();
  if (!problem.empty() && by_name)
    fail_usage("attention = \"cudnn\", but ", problem, ": set attention = \"own\"");
  static bool is_told = false;
  if (!by_name && cudnn_version() < expectation.least_version) {
    const size_t version = expectation.least_version;
    const std::string least = detail::joined(version / 10000, ".", version / 100 % 100);
    if (!std::exchange(is_told, true))
      std::cerr << "note: our own kernels do attention, since "
                << (problem.empty() ? "cuDNN is older than " + least : problem) << "; on this GPU cuDNN " << least
                << " would do it faster: " << expectation.reason << "\n";
    return nullptr;
  }
  return std::unique_ptr<CudnnAttention>(new CudnnAttention(device, workspace, by_name));
}

CudnnAttention::CudnnAttention(const Device& device, Arena& workspace, bool is_chosen_by_name)
    : device_(device), workspace_(workspace), is_chosen_by_name_(is_chosen_by_name), version_(cudnn_version()),
      handle_(make_cudnn_handle(device.compute_stream())) {}
CudnnAttention::~CudnnAttention() { destroy_cudnn_handle(handle_); }

const CudnnAttentionGraph* CudnnAttention::graph_of(const CudnnAttentionShape& shape) {
  const auto found = graphs_.find(shape);
  if (found != graphs_.end()) return found->second.get();
  std::unique_ptr<CudnnAttentionGraph>& graph = graphs_[shape];
  try {
    graph = std::make_unique<CudnnAttentionGraph>(shape, handle_);
    if (const size_t bytes = graph->workspace_bytes(); bytes > most_workspace) {
      graph.reset();
      fail("attention: cuDNN: ", shape.sequences, " sequences of up to ", shape.queries, " rows want ", bytes >> 20,
           " MiB of scratch, more than ", most_workspace >> 20);
    }
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
  constexpr bool is_backward = std::is_same_v<Arguments, AttentionBackward>;
  if (!is_chosen_by_name_ && !cudnn_is_expected_faster(device_.capability(), version_, is_backward)) return false;
  if (!takes(a)) return false;
  const bool takes_empty = version_ >= takes_empty_sequences;
  CudnnAttentionShape shape = shape_of(a, takes_empty);
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
  shape.is_backward = is_backward;
  shape.keeps_lse = a.lse != nullptr;
  const CudnnAttentionGraph* const graph = graph_of(shape);
  if (!graph) return false;
  ArenaScope scope(workspace_);
  const auto integers = [&](int64_t count) { return workspace_.make(DType::i32, {count}).template as<int32_t>(); };
  RaggedRows rows;
  rows.sequences = static_cast<int>(shape.sequences);
  rows.takes_empty = takes_empty;
  for (size_t i = 0; i < cudnn_tensors; ++i) {
    if (shape.row_strides[i] == 0) continue;
    rows.strides[i] = shape.row_strides[i];
    rows.offsets[i] = integers(shape.sequences + 1);
    memory[i + cudnn_offsets_of] = rows.offsets[i];
  }
  memory[cudnn_query_counts] = rows.query_counts = integers(shape.sequences);
  memory[cudnn_key_counts] = rows.key_counts = integers(shape.sequences);
  launch(ragged_rows_kernel, blocks(rows.sequences + 1), warp_size, 0, device_.compute_stream(), a, rows);
  void* const scratch = workspace_.make(DType::u8, {static_cast<int64_t>(graph->workspace_bytes())}).data;
  start_or_record([=, handle = handle_] { graph->run(handle, memory, scratch); }, graph, memory, scratch);
  wait_if_synchronous(device_.compute_stream());
  return true;
}

bool CudnnAttention::forward(const AttentionForward& arguments) { return run(arguments); }
bool CudnnAttention::backward(const AttentionBackward& arguments) { return run(arguments); }

}  // namespace engine::cuda
