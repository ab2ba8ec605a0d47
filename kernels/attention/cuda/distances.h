// Relative tables (attention.h) in the attention kernels without tensor cores. Products of a query's row of q, or of
// dy, with every row of a table come first, in memory as [query rows][heads][table rows]. Sums of weights by row of the
// table replace them there once no kernel reads them any more.
#pragma once

#include "kernels/attention/cuda/f32.h"

namespace engine::cuda {

// Stands for the tables in kernels without tables.
struct NoDistances {
  static constexpr bool there = false;
};

struct Distances {
  static constexpr bool there = true;
  int distances, rows;
  DeviceMatrix keys, values;  // tables, f32 [rows][width]
  float* scores;               // products with keys, then sums
  float* dscores;              // products with values, then sums

  Distances(const RelativeTables& tables, float* scores_, float* dscores_)
      : distances(static_cast<int>(tables.distances)), rows(static_cast<int>(tables.keys.rows())),
        keys(tables.keys), values(tables.values), scores(scores_), dscores(dscores_) {}

  __device__ __forceinline__ int64_t at(const AttentionCommon& a, int64_t query_row, int head) const {
    return (query_row * a.heads + head) * rows;
  }
  __device__ __forceinline__ int row_of(int place, int key) const {
    return smaller(larger(key - place, -distances), distances) + distances;
  }
  // Returns whether at most one key has this row. The first and the last row also stand for all keys beyond them.
  __device__ __forceinline__ bool is_of_one(int row) const { return row > 0 && row < 2 * distances; }
  // Returns row `row` of a query's sums. No kernel writes the sums of rows that no key has, and they count as 0.
  __device__ __forceinline__ float sum_at(const float* sums, int place, int visible, int row) const {
    const int key = place + row - distances;
    const bool written = row < rows && (!is_of_one(row) || (key >= 0 && key < visible));
    return written ? sums[row] : 0.0f;
  }
};

// Collects a row of sums while a thread goes over its weights. It writes a sum of one key and adds up a sum of several.
struct SumsOfRow {
  float first = 0, last = 0;

  __device__ __forceinline__ void add(const Distances& d, float* sums, int row, float weight) {
    if (d.is_of_one(row)) sums[row] = weight;
    else if (row == 0) first += weight;
    else last += weight;
  }
  // Writes the added sums. All threads of the row call it after a barrier since the last add.
  __device__ __forceinline__ void finish(const Distances& d, float* sums, bool valid) {
    const float of_first = f32_tiles::across_row(first, Add()), of_last = f32_tiles::across_row(last, Add());
    if (!valid || f32_tiles::thread_column() != 0) return;
    sums[0] = of_first;
    if (2 * d.distances < d.rows) sums[2 * d.distances] = of_last;
  }
};

// Computes to = own rows times all rows of a table. Own rows lie in tile `left`, and the table passes through tile
// `right`.
template <int D>
__device__ __forceinline__ void multiply_table(const AttentionCommon& a, const Distances& d,
                                               const f32_tiles::Tiles<D>& tiles_of, const f32_tiles::OwnRows& own,
                                               int left, int right, const DeviceMatrix& table, float* to) {
  using namespace f32_tiles;
  for (int first = 0; first < d.rows; first += tile) {
    load_one(tiles_of, right, table, first, 0, d.rows - first, a.width);
    float products[4][2];
    multiply_rows<D>(tiles_of.matrix(left), tiles_of.matrix(right), products);
    ENGINE_UNROLL
    for (int i = 0; i < 4; ++i)
      for (int j = 0; j < 2; ++j) {
        const int row = first + thread_column() + 16 * j;
        if (thread_row() + i < own.count && row < d.rows)
          to[d.at(a, own.row + thread_row() + i, own.head) + row] = products[i][j];
      }
  }
}

// Adds weights by row of a table times the table's rows, for own queries. The table passes through tile `right`.
template <int D>
__device__ __forceinline__ void add_table(const AttentionCommon& a, const Distances& d,
                                          const f32_tiles::Tiles<D>& tiles_of, const f32_tiles::OwnRows& own, int right,
                                          const DeviceMatrix& table, const float* weights, float (&sums)[4][D / 16]) {
  using namespace f32_tiles;
  const BlockSpan& span = own.span;
  for (int from = 0; from < d.rows; from += tile) {
    load_one(tiles_of, right, table, from, 0, d.rows - from, a.width);
    float part[4][2];
    ENGINE_UNROLL
    for (int i = 0; i < 4; ++i)
      for (int j = 0; j < 2; ++j) {
        const int query = own.first + thread_row() + i;
        part[i][j] = query < span.queries
                         ? d.sum_at(weights + d.at(a, span.query_begin + query, own.head), span.place(query),
                                    span.visible(query), from + thread_column() + 16 * j)
                         : 0.0f;
      }
    multiply_weights<D>(part, tiles_of.weights(0), tiles_of.matrix(right), sums);
  }
}

// Take tables beside the arguments of arguments.h. Backward needs the tables' scores before (f32.cu).
void attention_forward_f32(const AttentionForward& arguments, const Distances& distances, cudaStream_t stream);
void attention_backward_f32(const AttentionBackward& arguments, const Distances& distances, cudaStream_t stream);

}  // namespace engine::cuda
