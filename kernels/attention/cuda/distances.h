// Relative tables (attention.h) in the attention kernels without tensor cores. What a query's row of q, or of dy, gives
// with every row of a table is taken first and lies in memory, [query rows][heads][table rows]; there it is replaced by
// sums of weights by row of the table, once nobody needs it any more.
#pragma once

#include "kernels/attention/cuda/f32.h"

namespace engine::cuda {

// For kernels without tables.
struct NoDistances {
  static constexpr bool there = false;
  static constexpr int least_blocks = 0;  // on a multiprocessor: as the compiler likes
};

struct Distances {
  static constexpr bool there = true;
  static constexpr int least_blocks = 1;  // all registers that a kernel wants
  int distances, rows;
  DeviceColumns keys, values;  // the tables, f32 [rows][width]
  float* scores;               // q keys^T; then sums of weights (forward) or of the scores' gradients (backward)
  float* dscores;              // backward: dy values^T; then sums of weights

  Distances(const RelativeTables& tables, float* scores_, float* dscores_)
      : distances(static_cast<int>(tables.distances)), rows(static_cast<int>(tables.keys.rows())),
        keys(Columns(tables.keys)), values(Columns(tables.values)), scores(scores_), dscores(dscores_) {}

  __device__ __forceinline__ int64_t at(const AttentionCommon& a, int64_t query_row, int head) const {
    return (query_row * a.heads + head) * rows;
  }
  __device__ __forceinline__ int row_of(int place, int key) const {
    return smaller(larger(key - place, -distances), distances) + distances;
  }
  // Whether a row is that of one key at most; the first and the last stand for all keys beyond them, too.
  __device__ __forceinline__ bool is_of_one(int row) const { return row > 0 && row < 2 * distances; }
  // Row `row` of a query's sums: those of rows that no key has were never written.
  __device__ __forceinline__ float sum_at(const float* sums, int place, int visible, int row) const {
    const int key = place + row - distances;
    const bool written = row < rows && (!is_of_one(row) || (key >= 0 && key < visible));
    return written ? sums[row] : 0.0f;
  }
};

// A row of sums as a thread meets its weights: what is of one key is written, what is of several added up.
struct SumsOfRow {
  float first = 0, last = 0;

  __device__ __forceinline__ void add(const Distances& d, float* sums, int row, float weight) {
    if (d.is_of_one(row)) sums[row] = weight;
    else if (row == 0) first += weight;
    else last += weight;
  }
  // After a barrier since the last add, by all threads of the row.
  __device__ __forceinline__ void finish(const Distances& d, float* sums, bool valid) {
    const float of_first = f32_tiles::across_row(first), of_last = f32_tiles::across_row(last);
    if (!valid || f32_tiles::thread_column() != 0) return;
    sums[0] = of_first;
    if (2 * d.distances < d.rows) sums[2 * d.distances] = of_last;
  }
};

// to = the block's rows, which lie in tile `own`, times all rows of a table, which go through tile `through`.
template <int D>
__device__ __forceinline__ void multiply_table(const AttentionCommon& a, const Distances& d,
                                               const f32_tiles::Tiles<D>& tiles_of, int own, int through,
                                               const DeviceColumns& table, int64_t query_row, int head, int count,
                                               float* to) {
  using namespace f32_tiles;
  for (int first = 0; first < d.rows; first += tile) {
    sync_block();
    tiles_of.load(through, table, first, 0, d.rows - first, a.width);
    sync_block();
    float products[4][2];
    multiply_rows<D>(tiles_of.matrix(own), tiles_of.matrix(through), products);
    ENGINE_UNROLL
    for (int i = 0; i < 4; ++i)
      for (int j = 0; j < 2; ++j) {
        const int row = first + thread_column() + 16 * j;
        if (thread_row() + i < count && row < d.rows)
          to[d.at(a, query_row + thread_row() + i, head) + row] = products[i][j];
      }
  }
}

// sums += weights by row of a table times its rows, for the block's queries from `first`.
template <int D>
__device__ __forceinline__ void add_table(const AttentionCommon& a, const Distances& d,
                                          const f32_tiles::Tiles<D>& tiles_of, int through, const DeviceColumns& table,
                                          const BlockSpan& span, int first, int head, const float* weights,
                                          float (&sums)[4][D / 16]) {
  using namespace f32_tiles;
  for (int from = 0; from < d.rows; from += tile) {
    sync_block();
    tiles_of.load(through, table, from, 0, d.rows - from, a.width);
    sync_block();
    float part[4][2];
    ENGINE_UNROLL
    for (int i = 0; i < 4; ++i)
      for (int j = 0; j < 2; ++j) {
        const int query = first + thread_row() + i;
        part[i][j] = query < span.queries
                         ? d.sum_at(weights + d.at(a, span.query_begin + query, head), span.place(query),
                                    span.visible(query), from + thread_column() + 16 * j)
                         : 0.0f;
      }
    multiply_weights<D>(part, tiles_of.weights(0), tiles_of.matrix(through), sums);
  }
}

// attention/cuda/f32.cu, as without tables; the scores of backward are there already.
void attention_forward_f32(const AttentionForward& arguments, const Distances& distances, cudaStream_t stream);
void attention_backward_f32(const AttentionBackward& arguments, const Distances& distances, cudaStream_t stream);

}  // namespace engine::cuda
