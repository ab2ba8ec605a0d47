// Attention with relative tables: the kernels that run before and after those without tensor cores (f32.cu), for
// products with the tables and for the tables' gradients.
#include "kernels/attention/cuda/distances.h"

namespace engine::cuda {

namespace {

using namespace f32_tiles;

constexpr int most_groups = 64;

// Computes q keys^T, dy values^T and delta for a tile of queries.
template <int D>
__global__ void __launch_bounds__(threads) scores_kernel(const AttentionBackward a, const Distances tables, int tiles) {
  OwnRows own;
  if (!own.find(a, tiles, false)) return;
  const auto& [span, head, first, count, row, column] = own;
  const Tiles<D> tiles_of{dynamic_shared<float>()};
  tiles_of.load(0, a.q, row, column, count, a.width);
  tiles_of.load(1, a.dy, row, column, count, a.width);
  multiply_table<D>(a, tables, tiles_of, own, 0, 2, tables.keys, tables.scores);
  multiply_table<D>(a, tables, tiles_of, own, 1, 2, tables.values, tables.dscores);
  for (int i = 0; i < 4; ++i) {
    const bool valid = thread_row() + i < count;
    const int64_t at = row + thread_row() + i;
    const float delta = delta_of_row(a, at, column, valid);
    if (valid && thread_column() == 0) a.delta[at * a.heads + head] = delta;
  }
}

// Computes a block's part of a table's gradient: 32 of its rows, over the queries of every groups-th head of a
// sequence. The gradient of the keys' table is dS by row of the table times q, that of the values' table is weights by
// row times dy. parts is [2][groups][table rows][width].
template <int D>
__global__ void __launch_bounds__(threads, 1) table_kernel(const AttentionBackward a, const Distances tables, int tiles,
                                                        int groups, float* parts) {
  const int block = static_cast<int>(blockIdx.x), first_row = block % tiles * tile, group = block / tiles % groups;
  const bool of_values = block / tiles >= groups;
  const DeviceMatrix& right = of_values ? a.dy : a.q;
  const float* const left = of_values ? tables.dscores : tables.scores;
  const Tiles<D> tiles_of{dynamic_shared<float>()};
  float sums[4][D / 16] = {}, one[4] = {1, 1, 1, 1};
  for (int pair = group; pair < a.sequences * a.heads; pair += groups) {
    const int head = pair % a.heads;
    BlockSpan span;
    if (!read_span(a, pair / a.heads, span)) return;
    for (int first = 0; first < span.queries; first += tile) {
      const int count = smaller(tile, span.queries - first);
      load_one(tiles_of, 0, right, span.query_begin + first, int64_t{head} * a.width, count, a.width);
      float weights[4][2];
      ENGINE_UNROLL
      for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 2; ++j) {
          const int query = first + thread_column() + 16 * j;
          weights[i][j] = query < span.queries
                              ? tables.sum_at(left + tables.at(a, span.query_begin + query, head), span.place(query),
                                              span.visible(query), first_row + thread_row() + i)
                              : 0.0f;
        }
      multiply_weights<D>(weights, tiles_of.weights(0), tiles_of.matrix(0), sums);
    }
  }
  DeviceMatrix part = tables.keys;  // a table of the same shape
  part.data = reinterpret_cast<char*>(parts + (int64_t{of_values} * groups + group) * tables.rows * a.width);
  store<D>(part, first_row, 0, tables.rows - first_row, a.width, sums, one);
}

// Adds factor times the sum of the groups' parts, in their order, to the gradient.
__global__ void __launch_bounds__(threads) add_parts_kernel(const float* parts, int groups, int64_t size, float factor,
                                                            float* gradient) {
  const int64_t i = int64_t{blockIdx.x} * threads + threadIdx.x;
  if (i >= size) return;
  float sum = 0;
  for (int group = 0; group < groups; ++group) sum += parts[group * size + i];
  gradient[i] += factor * sum;
}

float* room_for_scores(const AttentionCommon& a, const RelativeTables& tables, Arena& workspace) {
  return workspace.make(DType::f32, {int64_t{a.query_rows} * a.heads, tables.keys.rows()}).as<float>();
}

}  // namespace

void attention_forward_relative(const AttentionForward& a, const RelativeTables& tables, Arena& workspace,
                                cudaStream_t stream) {
  const ArenaScope scope(workspace);
  attention_forward_f32(a, Distances(tables, room_for_scores(a, tables, workspace), nullptr), stream);
}

void attention_backward_relative(const AttentionBackward& a, const AttentionBackwardArgs& args, Arena& workspace,
                                 cudaStream_t stream) {
  const ArenaScope scope(workspace);
  float* const scores = room_for_scores(a, args.relative, workspace);
  const Distances tables(args.relative, scores, room_for_scores(a, args.relative, workspace));
  const int groups = std::min(a.sequences * a.heads, most_groups);
  const int64_t size = args.relative.keys.count();
  float* const parts = workspace.make(DType::f32, {2, groups, size}).as<float>();
  const int64_t tiles = ceil_div(a.longest_query, tile), row_tiles = ceil_div(tables.rows, tile);
  with_padded_width(a.width, [&](auto padded) {
    constexpr int D = padded.value;
    launch(scores_kernel<D>, a.grid(tiles), threads, Tiles<D>::shared_bytes, stream, a, tables,
           static_cast<int>(tiles));
    attention_backward_f32(a, tables, stream);
    launch(table_kernel<D>, blocks(2 * groups * row_tiles), threads, Tiles<D>::shared_bytes, stream, a, tables,
           static_cast<int>(row_tiles), groups, parts);
  });
  const auto add = [&](const float* of, float factor, const Tensor& gradient) {
    launch(add_parts_kernel, blocks(ceil_div(size, threads)), threads, 0, stream, of, groups, size, factor,
           gradient.as<float>());
  };
  add(parts, a.scale, args.drelative_keys);
  add(parts + groups * size, 1, args.drelative_values);
}

}  // namespace engine::cuda
