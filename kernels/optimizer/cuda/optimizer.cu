// AdamW, the sum of squares and clipping of each norm on a device, over many tensors in few launches. A table of
// tensors is among the kernel's parameters (4 KiB at most), so that no copy to the device comes before. A launch serves
// 55 (adamw) or 127 (the others) tensors. Every tensor is divided into pieces of 4096 elements, a block each, which
// finds its tensor by bisection. Blocks take 16 bytes at a time where all of a tensor's arrays begin on 16 bytes.
//
// Memory bounds the time: adamw reads and writes 32 bytes an element (8 in an untouched block), and 2 for its rounded
// copy. sum_of_squares reads 4, clip_norms reads 4 and takes 8 more in a tensor that is scaled. A turn of a warp is a
// block of AdamWTensor::touched_blocks. A piece's squares are summed in f32 by 1024 running sums and a tree, and the
// pieces' sums in double, by one block in a fixed order.
#include "kernels/optimizer/optimizer.h"

#include <algorithm>
#include <array>

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/vector.h"
#include "kernels/sizes.h"

namespace engine::cuda {
namespace {

constexpr int threads = 256, width = 4, piece_size = 4096;
constexpr unsigned final_threads = 1024;

// Holds some of the tensors. A Row holds what a kernel needs to know about one, and first_piece, the pieces before it.
template <class Row, int most>
struct Table {
  int count = 0;
  int pieces = 0;  // pieces of all tensors
  Row row[most];

  // Returns the place of this block's tensor in the table.
  __device__ __forceinline__ int place_of_block() const {
    int low = 0, high = count;
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      if (row[middle].first_piece <= static_cast<int>(blockIdx.x)) low = middle;
      else high = middle;
    }
    return low;
  }
  __device__ __forceinline__ const Row& of_block() const { return row[place_of_block()]; }
};

// Calls body(table) for tables of all tensors but the empty ones, each as full as possible. row_of(i) gives a Row.
template <class Row, int most, class SizeOf, class RowOf, class Body>
void each_table(size_t tensors, const SizeOf& size_of_tensor, const RowOf& row_of, const Body& body) {
  Table<Row, most> table{};
  for (size_t i = 0; i < tensors; ++i) {
    if (!size_of_tensor(i)) continue;
    table.row[table.count] = row_of(i);
    table.row[table.count++].first_piece = table.pieces;
    table.pieces += static_cast<int>(ceil_div(size_of_tensor(i), piece_size));
    if (table.count < most) continue;
    body(table);
    table.count = table.pieces = 0;
  }
  if (table.count) body(table);
}

// Calls body(element, integral width) over this block's piece of a tensor. It leaves out a warp's turn where
// skips(element, end), which all lanes of the warp call, returns true.
template <class Skips, class Body>
__device__ __forceinline__ void each_of_piece(int first_piece, int64_t count, bool vectors, const Skips& skips,
                                              const Body& body) {
  const int64_t begin = (int64_t{blockIdx.x} - first_piece) * piece_size;
  const int64_t end = begin + piece_size < count ? begin + piece_size : count;
  for (int turn = 0; turn < piece_size / (threads * width); ++turn) {
    const int64_t at = begin + (turn * threads + static_cast<int>(threadIdx.x)) * width;
    if (!skips(at, end)) vector_or_elements<width>(at, end, vectors, body);
  }
}

struct AdamWRow {
  float *value, *gradient, *m, *v;
  uint8_t* touched;   // TouchedBlocks, or null
  bfloat16* rounded;  // may be null
  int64_t count;
  float learning_rate_scale;
  int first_piece;
  bool vectors, keeps_gradient, decays;

  // Updates a block of zeros and returns whether it was one, the same in all lanes of the warp that has the block.
  __device__ __forceinline__ bool decays_zeros(int64_t at, int64_t end, float keep) const {
    static_assert(TouchedBlocks::block == warp_size * width);
    const int lane = lane_index();
    if (!touched || at - lane * width >= end) return false;
    uint8_t* const block = touched + at / TouchedBlocks::block;
    const bool zeros = ballot(*block != 0) == 0;  // all lanes read it before any lane writes
    if (lane == 0 && !zeros) *block = TouchedBlocks::moments;
    if (!zeros || keep == 1) return zeros;
    vector_or_elements<width>(at, end, vectors, [&]<int w>(int64_t i, std::integral_constant<int, w>) {
      float decayed[w];
      load_floats(value + i, decayed);
      for (int k = 0; k < w; ++k) decayed[k] *= keep;
      store_floats(value + i, decayed);
      if (rounded) store_floats(rounded + i, decayed);
    });
    return true;
  }
};
constexpr int adamw_rows = 55;
using AdamWTable = Table<AdamWRow, adamw_rows>;
static_assert(sizeof(AdamWTable) <= 4000);

// Computes the factor of gradients, negative where there is no step. norm_squared, loss and failed may be null, the
// first where max_norm is 0. A wrong index leaves the step out, too.
__global__ void clipping_kernel(const float* norm_squared, const float* loss, int* failed, float max_norm,
                                FaultReport fault, float* clipping) {
  const bool is_finite = (!norm_squared || fabsf(*norm_squared) < INFINITY) && (!loss || fabsf(*loss) < INFINITY);
  if (failed && !is_finite) *failed = 1;
  const bool is_step = is_finite && !(failed && *failed) && !has_fault(fault);
  const float norm = max_norm > 0 ? sqrtf(*norm_squared) : 0.0f;
  *clipping = !is_step ? -1.0f : norm <= max_norm ? 1.0f : max_norm / norm;
}

struct Step {
  AdamWFactors fixed;           // where on_device is null
  const AdamWFactors* on_device;
  const float* clipping;
};

__global__ void __launch_bounds__(threads, 4) adamw_kernel(const AdamWTable table, const Step step) {
  const float clip = *step.clipping;
  if (clip < 0) return;
  const AdamWRow& t = table.of_block();
  const AdamWFactors f = step.on_device ? *step.on_device : step.fixed;
  const float rate = f.rate_of(t.learning_rate_scale), keep = f.keep_of(t.learning_rate_scale, t.decays);
  const auto skips = [&](int64_t at, int64_t end) { return t.decays_zeros(at, end, keep); };
  each_of_piece(t.first_piece, t.count, t.vectors, skips, [&]<int w>(int64_t at, std::integral_constant<int, w>) {
    float value[w], g[w], m[w], v[w];
    load_floats(t.value + at, value);
    load_floats(t.gradient + at, g);
    load_floats(t.m + at, m);
    load_floats(t.v + at, v);
    for (int i = 0; i < w; ++i) {
      const float clipped = g[i] * clip;
      m[i] += f.one_minus_beta1 * (clipped - m[i]);
      v[i] = f.beta2 * v[i] + f.one_minus_beta2 * (clipped * clipped);
      const float denominator = sqrtf(v[i]) * f.inverse_root_correction2 + f.epsilon;
      value[i] = value[i] * keep - rate * (m[i] / denominator);
      g[i] = 0;
    }
    store_floats(t.value + at, value);
    if (t.rounded) store_floats(t.rounded + at, value);
    store_floats(t.m + at, m);
    store_floats(t.v + at, v);
    if (!t.keeps_gradient) store_floats(t.gradient + at, g);
  });
}

struct SquaresRow {
  const float* x;
  int64_t count;
  int first_piece;
  bool vectors;
};
constexpr int squares_rows = 127;
using SquaresTable = Table<SquaresRow, squares_rows>;
static_assert(sizeof(SquaresTable) <= 4000);

template <class SomeTable>
__global__ void __launch_bounds__(threads) squares_of_pieces(const SomeTable table, float* sums) {
  const auto& t = table.of_block();
  float sum[width] = {};
  const auto skips = [](int64_t, int64_t) { return false; };
  each_of_piece(t.first_piece, t.count, t.vectors, skips, [&]<int w>(int64_t at, std::integral_constant<int, w>) {
    float x[w];
    load_floats(t.x + at, x);
    for (int i = 0; i < w; ++i) sum[i] += x[i] * x[i];
  });
  const float total = block_sum((sum[0] + sum[1]) + (sum[2] + sum[3]));
  if (threadIdx.x == 0) sums[blockIdx.x] = total;
}

// Adds the pieces' sums by one block.
__global__ void __launch_bounds__(final_threads) sum_pieces(const float* sums, int count, float* result) {
  double total = 0;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(final_threads))
    total += static_cast<double>(sums[i]);
  total = block_sum(total);
  if (threadIdx.x == 0) *result = static_cast<float>(total);
}

struct ClipRow {
  float* x;
  int64_t count;
  int first_piece;
  bool vectors;
};
using ClipTable = Table<ClipRow, squares_rows>;
static_assert(sizeof(ClipTable) <= 4000);

// Adds the sums of a tensor's pieces, a block a tensor of the table, in a fixed order. Writes the tensor's factor and
// the square of the norm that remains.
__global__ void __launch_bounds__(threads) clipping_factors(const ClipTable table, const float* sums, float max_norm,
                                                            float* factors, float* remaining) {
  const int tensor = static_cast<int>(blockIdx.x);
  const int end = tensor + 1 < table.count ? table.row[tensor + 1].first_piece : table.pieces;
  double squares = 0;
  for (int i = table.row[tensor].first_piece + static_cast<int>(threadIdx.x); i < end; i += threads)
    squares += static_cast<double>(sums[i]);
  squares = block_sum(squares);
  if (threadIdx.x != 0) return;
  const double norm = sqrt(squares), limit = static_cast<double>(max_norm);
  const bool is_clipped = norm > limit && norm < static_cast<double>(INFINITY);
  factors[tensor] = is_clipped ? static_cast<float>(limit / norm) : 1.0f;
  remaining[tensor] = static_cast<float>(is_clipped ? limit * limit : squares);
}

__global__ void __launch_bounds__(threads) scale_pieces(const ClipTable table, const float* factors) {
  const int tensor = table.place_of_block();
  const ClipRow& t = table.row[tensor];
  const float factor = factors[tensor];
  if (factor == 1) return;
  const auto skips = [](int64_t, int64_t) { return false; };
  each_of_piece(t.first_piece, t.count, t.vectors, skips, [&]<int w>(int64_t at, std::integral_constant<int, w>) {
    float x[w];
    load_floats(t.x + at, x);
    for (int i = 0; i < w; ++i) x[i] *= factor;
    store_floats(t.x + at, x);
  });
}

}  // namespace

void CudaOps::adamw(const AdamWArgs& args) {
  const Operation operation("adamw", {});
  check_adamw(args);
  const ArenaScope scope(workspace_);
  float* const clipping = workspace_.make(DType::f32, {1}).as<float>();
  launch(clipping_kernel, blocks(1), 1, 0, stream(), args.norm_squared.as<float>(), args.loss.as<float>(),
         args.failed.as<int>(), args.max_norm, device_.fault(), clipping);
  const Step step{args.factors ? AdamWFactors{} : adamw_factors(args),
                  static_cast<const AdamWFactors*>(args.factors.data), clipping};
  const auto count = [&](size_t i) { return args.tensors[i].value.count(); };
  const auto row_of = [&](size_t i) {
    const AdamWTensor& t = args.tensors[i];
    return AdamWRow{t.value.as<float>(),
                    t.gradient.as<float>(),
                    t.m.as<float>(),
                    t.v.as<float>(),
                    t.touched_blocks.as<uint8_t>(),
                    static_cast<bfloat16*>(t.rounded.data),
                    count(i),
                    t.learning_rate_scale,
                    0,
                    takes_vectors(width, 0, {t.value.data, t.gradient.data, t.m.data, t.v.data, t.rounded.data}),
                    t.keeps_gradient,
                    t.decays};
  };
  each_table<AdamWRow, adamw_rows>(args.tensors.size(), count, row_of, [&](const AdamWTable& table) {
    launch(adamw_kernel, blocks(table.pieces), threads, 0, stream(), table, step);
  });
}

void CudaOps::sum_of_squares(const SumOfSquaresArgs& args) {
  const Operation operation("sum_of_squares", {args.result});
  check_sum_of_squares(args);
  const auto count = [&](size_t i) { return args.tensors[i].count(); };
  int64_t pieces = 0;
  for (size_t i = 0; i < args.tensors.size(); ++i) pieces += ceil_div(count(i), piece_size);
  const ArenaScope scope(workspace_);
  float* const sums = workspace_.make(DType::f32, {pieces}).as<float>();
  const auto row_of = [&](size_t i) {
    const float* x = args.tensors[i].as<float>();
    return SquaresRow{x, count(i), 0, takes_vectors(width, 0, {x})};
  };
  float* next = sums;
  each_table<SquaresRow, squares_rows>(args.tensors.size(), count, row_of, [&](const SquaresTable& table) {
    launch(squares_of_pieces<SquaresTable>, blocks(table.pieces), threads, 0, stream(), table, next);
    next += table.pieces;
  });
  launch(sum_pieces, blocks(1), final_threads, 0, stream(), sums, pieces, args.result.as<float>());
}

void CudaOps::clip_norms(const ClipNormsArgs& args) {
  const Operation operation("clip_norms", {args.result});
  check_clip_norms(args);
  const auto count = [&](size_t i) { return args.tensors[i].gradient.count(); };
  int64_t pieces = 0, tensors = 0;
  for (size_t i = 0; i < args.tensors.size(); ++i) {
    pieces += ceil_div(count(i), piece_size);
    tensors += count(i) > 0;
  }
  const ArenaScope scope(workspace_);
  float* const sums = workspace_.make(DType::f32, {pieces}).as<float>();
  float* const factors = workspace_.make(DType::f32, {tensors}).as<float>();
  float* const remaining = workspace_.make(DType::f32, {tensors}).as<float>();
  const auto row_of = [&](size_t i) {
    float* x = args.tensors[i].gradient.as<float>();
    return ClipRow{x, count(i), 0, takes_vectors(width, 0, {x})};
  };
  // The stream's order lets every table use the sums and factors of the one before.
  float* next_remaining = remaining;
  each_table<ClipRow, squares_rows>(args.tensors.size(), count, row_of, [&](const ClipTable& table) {
    launch(squares_of_pieces<ClipTable>, blocks(table.pieces), threads, 0, stream(), table, sums);
    launch(clipping_factors, blocks(table.count), threads, 0, stream(), table, sums, args.max_norm, factors,
           next_remaining);
    launch(scale_pieces, blocks(table.pieces), threads, 0, stream(), table, factors);
    next_remaining += table.count;
  });
  launch(sum_pieces, blocks(1), final_threads, 0, stream(), remaining, tensors, args.result.as<float>());
}

}  // namespace engine::cuda
