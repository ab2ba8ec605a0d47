// Layernorm on a device. Formula and derivation are in layernorm.h.
//
// Forward keeps a row's values in registers, so that it reads and writes everything once: x, residual, sum and y, the
// four streams that bound the time. Up to 1024 columns a warp takes a row, 32 values a lane, and needs no barrier. Up
// to 8192 columns a block takes it, 8 values a thread. Wider rows, and rows that vectors do not fit, are read a second
// and third time, from the cache.
//
// Backward gives a block several neighbouring rows, and a thread the same 8 columns of each, so that registers sum
// dgain and dbias over the block's rows and write them once. A second kernel adds the blocks' sums in their order. It
// reads and writes dy, sum, dsum (twice where it accumulates) and dx. The blocks' sums are at most 1/8 of one of these,
// and 1/16 and less beyond 16 thousand rows. The number of rows alone decides the rows of a block.
#include "kernels/norm/layernorm.h"

#include <algorithm>

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/vector.h"
#include "kernels/sizes.h"

namespace engine::cuda {
namespace {

constexpr int lane_elements = 32, thread_elements = 8;  // values of a row in a lane, in a thread
constexpr int warps = 4;                                // rows of a block, a warp each
constexpr int most_threads = 1024;

template <class X, class Y>
struct Forward {
  const X* x;
  const float* residual;
  float* sum;
  const float *gain, *bias;
  Y* y;
  float *mean, *rstd;
  float epsilon;
  ElementDropout dropout;
  int64_t rows;
  int cols;

  // Reads the values to normalise, `width` columns of a row.
  template <int width>
  __device__ __forceinline__ void read(int64_t row, int col, float (&s)[width]) const {
    const int64_t at = row * cols + col;
    for (int i = 0; i < width; ++i) s[i] = 0;
    if (x) {
      load_floats(x + at, s);
      dropout.apply(row, cols, col, s);
    }
    if (!residual) return;
    float r[width];
    load_floats(residual + at, r);
    for (int i = 0; i < width; ++i) s[i] += r[i];
  }
  template <int width>
  __device__ __forceinline__ void read_and_keep(int64_t row, int col, float (&s)[width]) const {
    read(row, col, s);
    if (sum && (x || sum != residual)) store_floats(sum + row * cols + col, s);
  }
  template <int width>
  __device__ __forceinline__ void write(int64_t row, int col, const float (&s)[width], float average,
                                        float scale) const {
    float g[width], t[width];
    load_floats(gain + col, g);
    for (int i = 0; i < width; ++i) t[i] = (s[i] - average) * scale * g[i];
    if (bias) {
      load_floats(bias + col, g);
      for (int i = 0; i < width; ++i) t[i] += g[i];
    }
    store_floats(y + row * cols + col, t);
  }
  __device__ __forceinline__ float scale_of(float squares) const {
    return reciprocal_square_root(squares / static_cast<float>(cols) + epsilon);
  }
  __device__ __forceinline__ void write_statistics(int64_t row, float average, float scale) const {
    if (mean) mean[row] = average;
    if (rstd) rstd[row] = scale;
  }
};

// Normalises a row whose values the threads hold, `elements` each. all_sum adds over these threads. The number of
// columns alone decides the order of sums, and not the dtypes, so that normalising `sum` again gives the same bits.
template <int elements, float (*all_sum)(float), class X, class Y>
__device__ __forceinline__ void forward_row(const Forward<X, Y>& a, int64_t row, int thread, int threads) {
  constexpr int width = thread_elements, vectors = elements / width;
  float s[vectors][width] = {};
  float total = 0, squares = 0;
  ENGINE_UNROLL
  for (int v = 0; v < vectors; ++v) {
    const int col = (v * threads + thread) * width;
    if (col >= a.cols) continue;
    a.read_and_keep(row, col, s[v]);
    for (int i = 0; i < width; ++i) total += s[v][i];
  }
  const float average = all_sum(total) / static_cast<float>(a.cols);
  ENGINE_UNROLL
  for (int v = 0; v < vectors; ++v) {
    if ((v * threads + thread) * width >= a.cols) continue;
    for (int i = 0; i < width; ++i) squares += (s[v][i] - average) * (s[v][i] - average);
  }
  const float scale = a.scale_of(all_sum(squares));
  ENGINE_UNROLL
  for (int v = 0; v < vectors; ++v) {
    const int col = (v * threads + thread) * width;
    if (col < a.cols) a.write(row, col, s[v], average, scale);
  }
  if (thread == 0) a.write_statistics(row, average, scale);
}

template <class X, class Y>
__global__ void __launch_bounds__(warps* warp_size) layernorm_forward_warp(const Forward<X, Y> a) {
  const int64_t row = int64_t{blockIdx.x} * warps + warp_index();
  if (row < a.rows) forward_row<lane_elements, warp_sum>(a, row, lane_index(), warp_size);
}

template <class X, class Y>
__global__ void __launch_bounds__(most_threads) layernorm_forward_block(const Forward<X, Y> a) {
  forward_row<thread_elements, block_sum>(a, blockIdx.x, static_cast<int>(threadIdx.x), static_cast<int>(blockDim.x));
}

// Normalises rows of any width, at any address.
template <class X, class Y>
__global__ void __launch_bounds__(most_threads, 1) layernorm_forward_any(const Forward<X, Y> a) {
  const int64_t row = blockIdx.x;
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  float total = 0, squares = 0, s[1];
  for (int col = thread; col < a.cols; col += threads) {
    a.read_and_keep(row, col, s);
    total += s[0];
  }
  // Reads from `sum` where it was kept, since that may be the residual's own place.
  const auto read_again = [&](int col) {
    if (a.sum) s[0] = a.sum[row * a.cols + col];
    else a.read(row, col, s);
  };
  const float average = block_sum(total) / static_cast<float>(a.cols);
  for (int col = thread; col < a.cols; col += threads) {
    read_again(col);
    squares += (s[0] - average) * (s[0] - average);
  }
  const float scale = a.scale_of(block_sum(squares));
  for (int col = thread; col < a.cols; col += threads) {
    read_again(col);
    a.write(row, col, s, average, scale);
  }
  if (thread == 0) a.write_statistics(row, average, scale);
}

template <class DY, class DX>
struct Backward {
  const DY* dy;
  const float *sum, *mean, *rstd, *gain;
  float* dsum;
  DX* dx;
  float* partial;  // [blocks][2][cols] sums for dgain, dbias
  bool accumulate;
  ElementDropout dropout;
  int64_t rows, rows_a_block;
  int cols;

  __device__ __forceinline__ int64_t begin() const { return int64_t{blockIdx.x} * rows_a_block; }
  __device__ __forceinline__ int64_t end() const {
    return begin() + rows_a_block < rows ? begin() + rows_a_block : rows;
  }
  // Writes the gradient of the input from d = dy gain and the normalised values.
  template <int width>
  __device__ __forceinline__ void write(int64_t row, int col, const float (&d)[width], const float (&normed)[width],
                                        float d_mean, float dn_mean, float scale) const {
    const int64_t at = row * cols + col;
    float ds[width];
    for (int i = 0; i < width; ++i) ds[i] = (d[i] - d_mean - normed[i] * dn_mean) * scale;
    if (accumulate) {
      float before[width];
      load_floats(dsum + at, before);
      for (int i = 0; i < width; ++i) ds[i] += before[i];
    }
    store_floats(dsum + at, ds);
    if (!dx) return;
    dropout.apply(row, cols, col, ds);
    store_floats(dx + at, ds);
  }
};

struct TwoSums {
  float first, second;
};
struct WarpPairs {
  TwoSums of_warp[2][32];
};
// Adds both sums over the block, with one barrier. Calls take turns in shared memory by `turn`.
__device__ __forceinline__ TwoSums block_sums(TwoSums sums, int64_t turn) {
  WarpPairs& shared = block_shared<WarpPairs>();
  const int lane = lane_index(), warp = warp_index();
  sums = {warp_sum(sums.first), warp_sum(sums.second)};
  if (lane == 0) shared.of_warp[turn % 2][warp] = sums;
  sync_block();
  const bool there = lane < warp_count();
  const TwoSums mine = there ? shared.of_warp[turn % 2][lane] : TwoSums{0, 0};
  return {warp_sum(mine.first), warp_sum(mine.second)};
}

template <class DY, class DX>
__global__ void __launch_bounds__(most_threads) layernorm_backward_block(const Backward<DY, DX> a) {
  constexpr int width = thread_elements;
  const int col = static_cast<int>(threadIdx.x) * width;
  const bool has_columns = col < a.cols;
  const float share = 1.0f / static_cast<float>(a.cols);
  float dgain[width] = {}, dbias[width] = {};
  for (int64_t row = a.begin(); row < a.end(); ++row) {
    const float mean = a.mean[row], scale = a.rstd[row];
    float d[width] = {}, normed[width] = {};
    TwoSums sums{0, 0};
    if (has_columns) {
      load_floats(a.dy + row * a.cols + col, d);
      load_floats(a.sum + row * a.cols + col, normed);
      float gain[width];
      load_floats(a.gain + col, gain);
      for (int i = 0; i < width; ++i) {
        normed[i] = (normed[i] - mean) * scale;
        dgain[i] += d[i] * normed[i];
        dbias[i] += d[i];
        d[i] *= gain[i];
        sums.first += d[i];
        sums.second += d[i] * normed[i];
      }
    }
    sums = block_sums(sums, row);
    if (has_columns) a.write(row, col, d, normed, sums.first * share, sums.second * share, scale);
  }
  if (!has_columns) return;
  float* const partial = a.partial + int64_t{blockIdx.x} * 2 * a.cols;
  store_floats(partial + col, dgain);
  store_floats(partial + a.cols + col, dbias);
}

// Takes rows of any width, at any address, and keeps the block's sums in memory, each column by its thread.
template <class DY, class DX>
__global__ void __launch_bounds__(most_threads, 1) layernorm_backward_any(const Backward<DY, DX> a) {
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  const float share = 1.0f / static_cast<float>(a.cols);
  float* const partial = a.partial + int64_t{blockIdx.x} * 2 * a.cols;
  for (int col = thread; col < a.cols; col += threads) partial[col] = partial[a.cols + col] = 0;
  for (int64_t row = a.begin(); row < a.end(); ++row) {
    const float mean = a.mean[row], scale = a.rstd[row];
    float d[1], normed[1];
    const auto read = [&](int col) {
      load_floats(a.dy + row * a.cols + col, d);
      normed[0] = (a.sum[row * a.cols + col] - mean) * scale;
    };
    TwoSums sums{0, 0};
    for (int col = thread; col < a.cols; col += threads) {
      read(col);
      partial[col] += d[0] * normed[0];
      partial[a.cols + col] += d[0];
      sums.first += d[0] * a.gain[col];
      sums.second += d[0] * a.gain[col] * normed[0];
    }
    sums = block_sums(sums, row);
    for (int col = thread; col < a.cols; col += threads) {
      read(col);
      d[0] *= a.gain[col];
      a.write(row, col, d, normed, sums.first * share, sums.second * share, scale);
    }
  }
}

struct ColumnSums {
  float of_warp[32][warp_size];
};
// Adds the columns' sums over all parts to dgain and dbias. A lane takes a column, and a warp takes a run of parts.
__global__ void __launch_bounds__(1024)
    layernorm_add_partial(const float* partial, int parts, int cols, float* dgain, float* dbias) {
  const int lane = lane_index(), warp = warp_index();
  const int all_warps = warp_count(), run = (parts + all_warps - 1) / all_warps;
  const int col = static_cast<int>(blockIdx.x) * warp_size + lane;
  const int end = (warp + 1) * run < parts ? (warp + 1) * run : parts;
  float total = 0;
  if (col < 2 * cols)
    for (int part = warp * run; part < end; ++part) total += partial[int64_t{part} * 2 * cols + col];
  ColumnSums& shared = block_shared<ColumnSums>();
  shared.of_warp[warp][lane] = total;
  sync_block();
  if (warp > 0 || col >= 2 * cols) return;
  for (int other = 1; other < all_warps; ++other) total += shared.of_warp[other][lane];
  if (col < cols) dgain[col] += total;
  else if (dbias) dbias[col - cols] += total;
}

}  // namespace

void CudaOps::layernorm_forward(const LayerNormForwardArgs& args) {
  const Operation operation("layernorm_forward", {args.x, args.residual, args.y});
  const auto [rows, cols] = check_layernorm(args);
  if (!cols) return;
  with_device_elements(args.x, [&]<class X>(X* x) {
    with_device_elements(args.y, [&]<class Y>(Y* y) {
      const Forward<X, Y> forward{x, args.residual.as<float>(), args.sum.as<float>(), args.gain.as<float>(),
                                  args.bias.as<float>(), y, args.mean.as<float>(), args.rstd.as<float>(), args.epsilon,
                                  ElementDropout(args.dropout), rows, static_cast<int>(cols)};
      const bool vectors = takes_vectors(thread_elements, cols,
                                         {x, args.residual.data, args.sum.data, args.gain.data, args.bias.data, y});
      if (vectors && cols <= warp_size * lane_elements)
        launch(layernorm_forward_warp<X, Y>, blocks(ceil_div(rows, warps)), warps * warp_size, 0, stream(), forward);
      else
        launch(vectors && cols <= most_threads * thread_elements ? layernorm_forward_block<X, Y>
                                                                 : layernorm_forward_any<X, Y>,
               blocks(rows), threads_of_row(cols, thread_elements), 0, stream(), forward);
    });
  });
}

void CudaOps::layernorm_backward(const LayerNormBackwardArgs& args) {
  const Operation operation("layernorm_backward", {args.dy, args.sum, args.dx});
  const auto [rows, cols] = check_layernorm(args);
  if (!rows) return;
  const ArenaScope scope(workspace_);
  const int64_t rows_a_block = std::max<int64_t>(8, ceil_div(rows, 1024)), parts = ceil_div(rows, rows_a_block);
  float* const partial = workspace_.make(DType::f32, {parts, 2 * cols}).as<float>();
  with_device_elements(args.dy, [&]<class DY>(DY* dy) {
    with_device_elements(args.dx, [&]<class DX>(DX* dx) {
      const Backward<DY, DX> backward{dy, args.sum.as<float>(), args.mean.as<float>(), args.rstd.as<float>(),
                                      args.gain.as<float>(), args.dsum.as<float>(), dx, partial, args.accumulate,
                                      ElementDropout(args.dropout), rows, rows_a_block, static_cast<int>(cols)};
      const bool vectors = cols <= most_threads * thread_elements &&
                           takes_vectors(thread_elements, cols,
                                         {dy, args.sum.data, args.gain.data, args.dsum.data, dx, partial});
      launch(vectors ? layernorm_backward_block<DY, DX> : layernorm_backward_any<DY, DX>, blocks(parts),
             threads_of_row(cols, thread_elements), 0, stream(), backward);
    });
  });
  const unsigned add_warps = static_cast<unsigned>(std::min<int64_t>(ceil_div(parts, 8), 32));
  launch(layernorm_add_partial, blocks(ceil_div(2 * cols, warp_size)), add_warps * warp_size, 0, stream(), partial,
         parts, cols, args.dgain.as<float>(), args.dbias.as<float>());
}

}  // namespace engine::cuda
