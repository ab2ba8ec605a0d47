// Holds the arguments of the attention kernels, and the part of the work that a block takes.
#pragma once

#include <array>

#include "core/arena.h"
#include "kernels/attention/attention.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/vector.h"
#include "kernels/sizes.h"

namespace engine::cuda {

inline constexpr float log2_e = 1.44269504f, ln_2 = 0.693147181f;

// Takes arguments by value, since device code has no address of a constant that std::min could refer to.
__device__ __forceinline__ int smaller(int a, int b) { return a < b ? a : b; }
__device__ __forceinline__ int larger(int a, int b) { return a > b ? a : b; }

// Dropout of attention's weights.
struct DropoutCounters : DropoutDraws {
  using DropoutDraws::DropoutDraws;
  // Draws for the elements 4 block ... 4 block + 3. Bit i of the result is set where element i is dropped.
  __device__ __forceinline__ uint32_t dropped_of_four(uint64_t block) const {
    const std::array<uint32_t, 4> drawn = words(block);
    return (drawn[0] < threshold ? 1u : 0u) | (drawn[1] < threshold ? 2u : 0u) | (drawn[2] < threshold ? 4u : 0u) |
           (drawn[3] < threshold ? 8u : 0u);
  }
  // Returns the block of four that holds key `key` of this query and head.
  __device__ __forceinline__ uint64_t block_of(int64_t query_row, int heads, int head, int key) const {
    return (static_cast<uint64_t>((first_row() + query_row) * heads + head) << 14) + static_cast<uint64_t>(key / 4);
  }
  __device__ __forceinline__ float factor(int64_t query_row, int heads, int head, int key) const {
    const uint32_t dropped = dropped_of_four(block_of(query_row, heads, head, key));
    return dropped >> (key % 4) & 1 ? 0.0f : scale;
  }
};

// Holds the arguments that forward and backward share. Queries and keys of a sequence are rows begin ... end - 1.
struct AttentionCommon {
  DeviceMatrix q, k, v, y;
  const int32_t *query_begin, *query_end, *key_begin, *key_end;
  int query_rows, key_rows;        // rows of the matrices
  int longest_query, longest_key;  // most rows in a segment
  int sequences, heads, width;
  bool causal;
  float scale;
  bool drops;
  DropoutCounters dropout;
  FaultReport fault;

  template <class Args>
  AttentionCommon(const Args& a, const DeviceMatrix& results, int64_t head_width, FaultReport fault_of_device)
      : q(a.q), k(a.k), v(a.v), y(results), query_begin(a.queries.begin.template as<int32_t>()),
        query_end(a.queries.end.template as<int32_t>()), key_begin(a.keys.begin.template as<int32_t>()),
        key_end(a.keys.end.template as<int32_t>()), query_rows(static_cast<int>(a.q.matrix.rows())),
        key_rows(static_cast<int>(a.k.matrix.rows())), longest_query(static_cast<int>(a.queries.longest)),
        longest_key(static_cast<int>(a.keys.longest)), sequences(static_cast<int>(a.queries.count())), heads(a.heads),
        width(static_cast<int>(head_width)), causal(a.causal), scale(a.scale), drops(a.dropout.rate > 0),
        dropout(a.dropout), fault(fault_of_device) {}

  // Returns the grid for `tiles` pieces of work in each head of each sequence.
  dim3 grid(int64_t tiles) const { return blocks(int64_t{sequences} * heads * tiles); }
};
struct AttentionForward : AttentionCommon {
  float* lse;  // [N, H] log-sum-exp, may be null

  AttentionForward(const AttentionForwardArgs& a, int64_t head_width, FaultReport fault_of_device)
      : AttentionCommon(a, a.y, head_width, fault_of_device), lse(a.lse.as<float>()) {}
  std::array<const DeviceMatrix*, 4> matrices() const { return {&q, &k, &v, &y}; }
};
struct AttentionBackward : AttentionCommon {
  DeviceMatrix dy, dq, dk, dv;
  float* lse;    // [N, H] log-sum-exp, only read
  float* delta;  // [N, H] sums of dy y, scratch

  AttentionBackward(const AttentionBackwardArgs& a, int64_t head_width, FaultReport fault_of_device, float* scratch)
      : AttentionCommon(a, a.y, head_width, fault_of_device), dy(a.dy), dq(a.dq), dk(a.dk), dv(a.dv),
        lse(a.lse.as<float>()), delta(scratch) {}
  std::array<const DeviceMatrix*, 8> matrices() const { return {&q, &k, &v, &y, &dy, &dq, &dk, &dv}; }
};

// Returns whether every matrix is bf16, and whether every row of every head can be read as vectors of 8 elements.
template <class Arguments>
bool all_bf16(const Arguments& a) {
  const auto matrices = a.matrices();
  return std::all_of(matrices.begin(), matrices.end(), [](const DeviceMatrix* m) { return m->is_bf16; });
}
template <class Arguments>
bool all_take_vectors(const Arguments& a) {
  const auto matrices = a.matrices();
  return a.width % 8 == 0 &&
         std::all_of(matrices.begin(), matrices.end(), [](const DeviceMatrix* m) { return m->takes_vectors(8); });
}

// Holds the rows of one sequence. `visible` and `place` are those of AttentionSpan.
struct BlockSpan {
  int query_begin, queries, key_begin, keys;
  bool causal;

  __device__ __forceinline__ int visible(int query) const {
    const int count = query + 1 + keys - queries;
    return causal ? smaller(larger(count, 0), keys) : keys;
  }
  __device__ __forceinline__ int place(int query) const { return query + keys - queries; }
};

// Holds the tile, head and sequence of this block. Tiles of one head are neighbours, so that they find its keys in the
// cache.
struct BlockPlace {
  int tile, head, sequence;

  __device__ __forceinline__ BlockPlace(const AttentionCommon& of, int tiles)
      : tile(static_cast<int>(blockIdx.x) % tiles), head(static_cast<int>(blockIdx.x) / tiles % of.heads),
        sequence(static_cast<int>(blockIdx.x) / tiles / of.heads) {}
};

// Reads the rows of a sequence. Reports a fault and returns false where they are not rows of the matrices, or are more
// than the longest. Nothing may be touched then.
__device__ __forceinline__ bool read_span(const AttentionCommon& of, int sequence, BlockSpan& span) {
  const int query_end = of.query_end[sequence], key_end = of.key_end[sequence];
  span.query_begin = of.query_begin[sequence];
  span.key_begin = of.key_begin[sequence];
  span.queries = query_end - span.query_begin;
  span.keys = key_end - span.key_begin;
  span.causal = of.causal;
  const auto fits = [&](int begin, int end, int rows, int longest) {
    if (0 <= begin && begin <= end && end <= rows && end - begin <= longest) return true;
    if (threadIdx.x == 0)
      report_fault(of.fault, FaultKind::segment, sequence, end - 1, smaller(rows, larger(begin, 0) + longest));
    return false;
  };
  return fits(span.query_begin, query_end, of.query_rows, of.longest_query) &&
         fits(span.key_begin, key_end, of.key_rows, of.longest_key);
}

// --- implementations, whose arguments have been checked ------------------------------------------------------------
// Attention in f32, for all dtypes (attention/cuda/f32.cu).
void attention_forward_f32(const AttentionForward& arguments, cudaStream_t stream);
void attention_backward_f32(const AttentionBackward& arguments, cudaStream_t stream);
// The same with relative tables (attention/cuda/relative.cu).
void attention_forward_relative(const AttentionForward& arguments, const RelativeTables& tables, Arena& workspace,
                                cudaStream_t stream);
void attention_backward_relative(const AttentionBackward& arguments, const AttentionBackwardArgs& args,
                                 Arena& workspace, cudaStream_t stream);
// Attention for at most decode_queries queries in each sequence. k and v have one dtype (attention/cuda/decode.cu).
inline constexpr int64_t decode_queries = 4;
void attention_decode(const AttentionForward& arguments, Arena& workspace, cudaStream_t stream);

// Calls body(std::integral_constant<int, D>) with the narrowest D of the kernels' templates that holds a head.
template <class Body>
void with_padded_width(int64_t width, const Body& body) {
  if (width <= 32) body(std::integral_constant<int, 32>());
  else if (width <= 64) body(std::integral_constant<int, 64>());
  else if (width <= 96) body(std::integral_constant<int, 96>());
  else body(std::integral_constant<int, 128>());
}

}  // namespace engine::cuda
