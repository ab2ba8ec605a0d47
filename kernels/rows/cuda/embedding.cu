// Embeddings on a device.
//
// Forward takes a token a warp, 16 bytes a lane. It reads the tables' rows and writes y, and nothing else.
//
// Backward sums, for every row of a table, over the tokens that point to it, in their order. First it puts the tokens
// in order by index (rows/cuda/index_order.h), for all tables at once, and divides the ordered list into chunks of 32,
// or more beyond 32 thousand tokens, by their number alone. A warp goes over a chunk, for 32 lanes' columns, and keeps
// the running sum of one index in registers. It reads four rows of dy at a time, so that the reads overlap. A warp adds
// a sum that lies inside a chunk to the table's row. It keeps a chunk's part of a sum that goes beyond it, and a second
// kernel adds these parts in the chunks' order. So a frequent token (or a type, whose sum is over half of all tokens)
// is as fast as rare ones. The kernels read dy once for each table, and read and write only those rows of the tables
// that tokens point to.
#include "kernels/rows/embedding.h"

#include <algorithm>
#include <array>

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/vector.h"
#include "kernels/rows/cuda/index_order.h"
#include "kernels/sizes.h"

namespace engine::cuda {
namespace {

constexpr int forward_warps = 8, sum_warps = 4;  // warps of a block

// Faults of tokens, positions and types, in this order.
using FaultKinds = std::array<FaultKind, 3>;
constexpr FaultKinds forward_faults{FaultKind::token, FaultKind::position, FaultKind::type};
constexpr FaultKinds backward_faults{FaultKind::token_gradient, FaultKind::position_gradient, FaultKind::type_gradient};

struct Tables {
  IndexLists of;
  float* rows[3];  // rows of each list's table or gradient
  float token_scale;
  uint8_t* touched_blocks;  // TouchedBlocks of rows[0], or null

  __device__ __forceinline__ float scale_of(unsigned l) const { return l == 0 ? token_scale : 1; }
  __device__ __forceinline__ float* rows_of(unsigned l) const { return l == 0 ? rows[0] : l == 1 ? rows[1] : rows[2]; }
};

// Returns the tables that are given.
Tables tables_of(const EmbeddingTables& named, const FaultKinds& faults, float token_scale) {
  Tables tables{};
  tables.token_scale = token_scale;
  tables.of.count = static_cast<int>(named[0].index.count());
  for (size_t i = 0; i < 3; ++i) {
    if (!named[i].table) continue;
    tables.of.list[tables.of.lists] = {named[i].index.as<int32_t>(), static_cast<int>(named[i].table.rows()),
                                       faults[i]};
    // A forward pass may have a token table in bf16, which it takes by itself.
    tables.rows[tables.of.lists++] = named[i].table.dtype == DType::f32 ? named[i].table.as<float>() : nullptr;
  }
  return tables;
}

template <class X>
bool tables_take_vectors(const Tables& tables, const void* token_rows, int64_t cols, const X* x) {
  return takes_vectors(vector_width<X>, cols, {x, token_rows, tables.rows[1], tables.rows[2]});
}

template <class T, class Y, int width>
__global__ void __launch_bounds__(forward_warps* warp_size)
    embedding_forward_kernel(const Tables tables, const T* token_rows, Y* y, int cols, const ElementDropout dropout,
                             FaultReport fault) {
  const int n = static_cast<int>(blockIdx.x) * forward_warps + warp_index();
  const int lane = lane_index();
  if (n >= tables.of.count) return;
  const T* token_row = nullptr;
  const float* row[3] = {};  // the first one is not used
  ENGINE_UNROLL
  for (int l = 0; l < 3; ++l) {
    if (l >= tables.of.lists) continue;
    const IndexList& list = tables.of.list[l];
    const int index = list.index[n];
    if (index < 0 || index >= list.limit) {
      if (lane == 0) report_fault(fault, list.kind, n, index, list.limit);
    } else if (l == 0) {
      token_row = token_rows + int64_t{index} * cols;
    } else {
      row[l] = tables.rows[l] + int64_t{index} * cols;
    }
  }
  for (int col = lane * width; col < cols; col += warp_size * width) {
    float sum[width] = {}, part[width];
    if (token_row) {
      load_floats(token_row + col, part);
      for (int i = 0; i < width; ++i) sum[i] = part[i] * tables.token_scale;
    }
    ENGINE_UNROLL
    for (int l = 1; l < 3; ++l) {
      if (!row[l]) continue;
      load_floats(row[l] + col, part);
      for (int i = 0; i < width; ++i) sum[i] += part[i];
    }
    dropout.apply(n, cols, col, sum);
    store_floats(y + int64_t{n} * cols + col, sum);
  }
}

// Sums over an ordered list, by chunks. Block (c, k, l) takes chunks of list l, a warp each, and columns k.
template <class DY>
struct Sums {
  Tables tables;
  IndexOrder order;
  const DY* dy;
  float* partial;  // [list][chunk][2][cols] sums from the chunk before, into the next
  int cols, chunk_size, chunks;
  ElementDropout dropout;
};

// Holds a warp's chunk and columns.
template <int width>
struct Place {
  const int* index;  // ordered list
  int list, chunk, begin, end, count, cols, col;

  template <class DY>
  __device__ __forceinline__ explicit Place(const Sums<DY>& a)
      : index(a.order.index + int64_t{blockIdx.z} * a.tables.of.count), list(static_cast<int>(blockIdx.z)),
        chunk(static_cast<int>(blockIdx.x) * sum_warps + warp_index()),
        begin(chunk * a.chunk_size), count(a.tables.of.count), cols(a.cols),
        col((static_cast<int>(blockIdx.y) * warp_size + lane_index()) * width) {
    end = begin + a.chunk_size < count ? begin + a.chunk_size : count;
  }
  __device__ __forceinline__ bool begins_here(int of) const { return begin == 0 || index[begin - 1] != of; }
  __device__ __forceinline__ bool goes_on(int of) const { return end < count && index[end] == of; }
  template <class DY>
  __device__ __forceinline__ float* partial(const Sums<DY>& a, int of_chunk, int which) const {
    return a.partial + ((int64_t{list} * a.chunks + of_chunk) * 2 + which) * cols + col;
  }
  // Adds the sum to the table's row. A sum of indices outside the table is left out.
  template <class DY>
  __device__ __forceinline__ void add(const Sums<DY>& a, int to, const float (&sum)[width]) const {
    if (col >= cols || to >= a.tables.of.of(blockIdx.z).limit) return;
    float* const row = a.tables.rows_of(blockIdx.z) + int64_t{to} * cols + col;
    float total[width];
    load_floats(row, total);
    for (int i = 0; i < width; ++i) total[i] += sum[i] * a.tables.scale_of(blockIdx.z);
    store_floats(row, total);
    // Vectors begin at multiples of their width: they lie in one block. All writers write the same.
    if (uint8_t* const touched = blockIdx.z == 0 ? a.tables.touched_blocks : nullptr)
      touched[(int64_t{to} * cols + col) / TouchedBlocks::block] = TouchedBlocks::written;
  }
};

template <class DY, int width>
__global__ void __launch_bounds__(sum_warps* warp_size, 4) embedding_sum_chunks(const Sums<DY> a) {
  constexpr int together = 4;
  const Place<width> place(a);
  if (place.begin >= place.count) return;
  const int* const source = a.order.place + int64_t{place.list} * place.count;
  int current = place.index[place.begin];
  bool whole = place.begins_here(current);
  float sum[width] = {};
  // Ends the current sum, or its chunk.
  const auto finish = [&](bool goes_on) {
    if (whole && !goes_on) place.add(a, current, sum);
    else if (place.col < place.cols) store_floats(place.partial(a, place.chunk, whole ? 1 : 0), sum);
  };
  for (int first = place.begin; first < place.end; first += together) {
    float d[together][width] = {};
    int index[together];
    ENGINE_UNROLL
    for (int i = 0; i < together; ++i) {
      if (first + i >= place.end) continue;
      const int row = source[first + i];
      index[i] = place.index[first + i];
      if (place.col >= place.cols) continue;
      load_floats(a.dy + int64_t{row} * place.cols + place.col, d[i]);
      a.dropout.apply(row, place.cols, place.col, d[i]);
    }
    ENGINE_UNROLL
    for (int i = 0; i < together; ++i) {
      if (first + i >= place.end) continue;
      if (index[i] != current) {
        finish(false);
        current = index[i];
        whole = true;
        for (int c = 0; c < width; ++c) sum[c] = 0;
      }
      for (int c = 0; c < width; ++c) sum[c] += d[i][c];
    }
  }
  finish(place.goes_on(current));
}

// Adds up the parts of a sum in the chunk in which it begins.
template <class DY, int width>
__global__ void __launch_bounds__(sum_warps* warp_size) embedding_join_chunks(const Sums<DY> a) {
  const Place<width> place(a);
  if (place.begin >= place.count) return;
  const int current = place.index[place.end - 1], lane = lane_index();
  if (!place.begins_here(current) || !place.goes_on(current)) return;
  constexpr int together = 8;  // parts read at once
  float sum[width] = {};
  const bool there = place.col < place.cols;
  if (there) load_floats(place.partial(a, place.chunk, 1), sum);
  for (int first = place.chunk + 1, more = warp_size; more == warp_size; first += warp_size) {
    const int chunk = first + lane;
    more = count_bits(ballot(chunk < a.chunks && place.index[int64_t{chunk} * a.chunk_size] == current));
    if (!there) continue;
    for (int begin = 0; begin < more; begin += together) {
      float part[together][width] = {};
      ENGINE_UNROLL
      for (int i = 0; i < together; ++i)
        if (begin + i < more) load_floats(place.partial(a, first + begin + i, 0), part[i]);
      ENGINE_UNROLL
      for (int i = 0; i < together; ++i)
        for (int c = 0; c < width && begin + i < more; ++c) sum[c] += part[i][c];
    }
  }
  place.add(a, current, sum);
}

template <class DY, int width>
void sum_in_order(const Sums<DY>& sums, cudaStream_t stream) {
  const dim3 grid =
      blocks(ceil_div(sums.chunks, sum_warps), ceil_div(sums.cols, warp_size * width), sums.tables.of.lists);
  launch(embedding_sum_chunks<DY, width>, grid, sum_warps * warp_size, 0, stream, sums);
  launch(embedding_join_chunks<DY, width>, grid, sum_warps * warp_size, 0, stream, sums);
}

}  // namespace

void CudaOps::embedding_forward(const EmbeddingForwardArgs& args) {
  const Operation operation("embedding_forward", {args.tokens, args.token_table, args.y});
  check_embedding("embedding_forward", "y", args.y, embedding_tables(args));
  const Tables tables = tables_of(embedding_tables(args), forward_faults, args.token_scale);
  const int64_t cols = args.token_table.cols();
  with_device_elements(args.token_table, [&]<class T>(T* token_rows) {
    with_device_elements(args.y, [&]<class Y>(Y* y) {
      launch(tables_take_vectors(tables, token_rows, cols, y) ? embedding_forward_kernel<T, Y, vector_width<Y>>
                                                              : embedding_forward_kernel<T, Y, 1>,
             blocks(ceil_div(tables.of.count, forward_warps)), forward_warps * warp_size, 0, stream(), tables,
             token_rows, y, cols, ElementDropout(args.dropout), device_.fault());
    });
  });
}

void CudaOps::embedding_backward(const EmbeddingBackwardArgs& args) {
  const Operation operation("embedding_backward", {args.tokens, args.dtoken_table, args.dy});
  check_embedding("embedding_backward", "dy", args.dy, embedding_tables(args));
  check_touched_blocks(args);
  Tables tables = tables_of(embedding_tables(args), backward_faults, args.token_scale);
  tables.touched_blocks = args.touched_blocks.as<uint8_t>();
  const int64_t cols = args.dtoken_table.cols(), count = tables.of.count;
  if (!count || !cols) return;
  const ArenaScope scope(workspace_);
  const IndexOrder order = order_indices(tables.of, workspace_, device_.fault(), stream());
  const int64_t chunk_size = 32 * std::max<int64_t>(1, ceil_div(count, 32 * 1024));
  const int64_t chunks = ceil_div(count, chunk_size);
  float* const partial = workspace_.make(DType::f32, {tables.of.lists, chunks, 2, cols}).as<float>();
  with_device_elements(args.dy, [&]<class DY>(DY* dy) {
    const Sums<DY> sums{tables, order, dy, partial, static_cast<int>(cols), static_cast<int>(chunk_size),
                        static_cast<int>(chunks), ElementDropout(args.dropout)};
    if (tables_take_vectors(tables, tables.rows[0], cols, dy)) sum_in_order<DY, vector_width<DY>>(sums, stream());
    else sum_in_order<DY, 1>(sums, stream());
  });
}

}  // namespace engine::cuda
