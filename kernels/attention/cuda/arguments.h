// What the attention kernels are given, and which part of the work is a block's.
#pragma once

#include "core/arena.h"
#include "kernels/attention/attention.h"
#include "kernels/cuda/block.h"
#include "kernels/cuda/dropout.h"
#include "kernels/cuda/launch.h"
#include "kernels/sizes.h"

namespace engine::cuda {

inline constexpr float log2_e = 1.44269504f, ln_2 = 0.693147181f;

// By value: device code has no address of a constant that std::min could refer to.
__device__ __forceinline__ int smaller(int a, int b) { return a < b ? a : b; }
__device__ __forceinline__ int larger(int a, int b) { return a > b ? a : b; }

// Columns of a matrix in device memory.
struct DeviceColumns {
  void* data = nullptr;  // the first row's first element
  int stride = 0;        // elements from a row to the next
  bool is_bf16 = false;

  DeviceColumns() = default;
  DeviceColumns(const Columns& of)  // NOLINT: the same thing in the device's words
      : data(static_cast<char*>(of.matrix.data) + static_cast<size_t>(of.begin) * size_of(of.matrix.dtype)),
        stride(static_cast<int>(of.matrix.cols())),
        is_bf16(of.matrix.dtype == DType::bf16) {}
  // Whether every row begins on 16 bytes and so does every head.
  bool aligned(int64_t width) const {
    const int64_t unit = is_bf16 ? 8 : 4;
    return reinterpret_cast<uintptr_t>(data) % 16 == 0 && stride % unit == 0 && width % unit == 0;
  }
  __device__ __forceinline__ bfloat16* bf16_at(int64_t row, int64_t column) const {
    return static_cast<bfloat16*>(data) + row * stride + column;
  }
  __device__ __forceinline__ float load(int64_t row, int64_t column) const {
    const int64_t at = row * stride + column;
    return is_bf16 ? to_float(static_cast<const bfloat16*>(data)[at]) : static_cast<const float*>(data)[at];
  }
  __device__ __forceinline__ void store(int64_t row, int64_t column, float value) const {
    const int64_t at = row * stride + column;
    if (is_bf16) static_cast<bfloat16*>(data)[at] = from_float<bfloat16>(value);
    else static_cast<float*>(data)[at] = value;
  }
};

// Dropout of attention's weights.
struct DropoutCounters : DropoutDraws {
  using DropoutDraws::DropoutDraws;
  // Elements 4 block ... 4 block + 3: bit i is set where element i of them is dropped.
  __device__ __forceinline__ uint32_t dropped_of_four(uint64_t block) const {
    const std::array<uint32_t, 4> drawn = words(block);
    return (drawn[0] < threshold ? 1u : 0u) | (drawn[1] < threshold ? 2u : 0u) | (drawn[2] < threshold ? 4u : 0u) |
           (drawn[3] < threshold ? 8u : 0u);
  }
  // The block of four that holds key `key` of this query and head.
  __device__ __forceinline__ uint64_t block_of(int64_t query_row, int heads, int head, int key) const {
    return (static_cast<uint64_t>((first_row + query_row) * heads + head) << 14) + static_cast<uint64_t>(key / 4);
  }
  __device__ __forceinline__ float factor(int64_t query_row, int heads, int head, int key) const {
    const uint32_t dropped = dropped_of_four(block_of(query_row, heads, head, key));
    return dropped >> (key % 4) & 1 ? 0.0f : scale;
  }
};

// What all kernels need to know.
struct AttentionCommon {
  DeviceColumns q, k, v;
  const int32_t *query_begin, *query_end, *key_begin, *key_end;
  int query_rows, key_rows;        // of the matrices
  int longest_query, longest_key;  // rows in a segment
  int sequences, heads, width;
  bool causal;
  float scale;
  bool drops;
  DropoutCounters dropout;
  Fault* fault;

  template <class Args>
  AttentionCommon(const Args& a, int64_t head_width, Fault* fault_of_device)
      : q(a.q), k(a.k), v(a.v), query_begin(a.queries.begin.template as<int32_t>()),
        query_end(a.queries.end.template as<int32_t>()), key_begin(a.keys.begin.template as<int32_t>()),
        key_end(a.keys.end.template as<int32_t>()), query_rows(static_cast<int>(a.q.matrix.rows())),
        key_rows(static_cast<int>(a.k.matrix.rows())), longest_query(static_cast<int>(a.queries.longest)),
        longest_key(static_cast<int>(a.keys.longest)), sequences(static_cast<int>(a.queries.count())), heads(a.heads),
        width(static_cast<int>(head_width)), causal(a.causal), scale(a.scale), drops(a.dropout.rate > 0),
        dropout(a.dropout), fault(fault_of_device) {}

  // Blocks for `tiles` pieces of work in each head of each sequence.
  dim3 grid(int64_t tiles) const { return blocks(int64_t{sequences} * heads * tiles); }
};
struct AttentionForward : AttentionCommon {
  DeviceColumns y;
  float* lse;  // may be null

  AttentionForward(const AttentionForwardArgs& a, int64_t head_width, Fault* fault_of_device)
      : AttentionCommon(a, head_width, fault_of_device), y(Columns(a.y)), lse(a.lse.as<float>()) {}
};
struct AttentionBackward : AttentionCommon {
  DeviceColumns y, dy, dq, dk, dv;
  const float* lse;
  float* delta;  // scratch [query rows, heads]: sums of dy y, written by the first kernel, read by the others

  AttentionBackward(const AttentionBackwardArgs& a, int64_t head_width, Fault* fault_of_device, float* scratch)
      : AttentionCommon(a, head_width, fault_of_device), y(Columns(a.y)), dy(Columns(a.dy)), dq(a.dq), dk(a.dk),
        dv(a.dv), lse(a.lse.as<float>()), delta(scratch) {}
};

// One sequence's rows; `visible` as AttentionSpan has it.
struct BlockSpan {
  int query_begin, queries, key_begin, keys;
  bool causal;

  __device__ __forceinline__ int visible(int query) const {
    const int count = query + 1 + keys - queries;
    return causal ? smaller(larger(count, 0), keys) : keys;
  }
  __device__ __forceinline__ int place(int query) const { return query + keys - queries; }
};

// Which tile of which head of which sequence is this block's. Tiles of one head are neighbours, so that they find its
// keys in the cache.
struct BlockPlace {
  int tile, head, sequence;

  __device__ __forceinline__ BlockPlace(const AttentionCommon& of, int tiles)
      : tile(static_cast<int>(blockIdx.x) % tiles), head(static_cast<int>(blockIdx.x) / tiles % of.heads),
        sequence(static_cast<int>(blockIdx.x) / tiles / of.heads) {}
};

// Reads the rows of a sequence. False, after a note of the fault, where they are not rows of the matrices or more than
// the arguments said: nothing may be touched then.
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

// --- the ways to take attention; arguments have been checked --------------------------------------------------------
// attention/cuda/f32.cu: in f32, whatever the dtypes.
void attention_forward_f32(const AttentionForward& arguments, cudaStream_t stream);
void attention_backward_f32(const AttentionBackward& arguments, cudaStream_t stream);
// attention/cuda/relative.cu: the same with relative tables.
void attention_forward_relative(const AttentionForward& arguments, const RelativeTables& tables, Arena& workspace,
                                cudaStream_t stream);
void attention_backward_relative(const AttentionBackward& arguments, const AttentionBackwardArgs& args,
                                 Arena& workspace, cudaStream_t stream);
// attention/cuda/decode.cu: few queries in each sequence; k and v have one dtype.
inline constexpr int64_t decode_queries = 4;
void attention_decode(const AttentionForward& arguments, Arena& workspace, cudaStream_t stream);

// body(std::integral_constant<int, D>): the narrowest D of the kernels' templates that holds a head.
template <class Body>
void with_padded_width(int64_t width, const Body& body) {
  if (width <= 32) body(std::integral_constant<int, 32>());
  else if (width <= 64) body(std::integral_constant<int, 64>());
  else if (width <= 96) body(std::integral_constant<int, 96>());
  else body(std::integral_constant<int, 128>());
}
template <class Body>
void with_flag(bool flag, const Body& body) {
  if (flag) body(std::true_type());
  else body(std::false_type());
}

}  // namespace engine::cuda
