// The operation: it brings operands into the kernels' form, chooses who multiplies, sums rows, and packs.
#include "kernels/matmul/cuda/matmul.h"

#include <algorithm>
#include <cstdlib>

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/vector.h"
#include "kernels/matmul/cuda/cublaslt.h"
#include "kernels/matmul/matmul.h"
#include "kernels/sizes.h"

namespace engine::cuda {

namespace {

constexpr unsigned threads = 256;

// Converts eight elements a thread. Rows of y are `stride` long, and end with zeros.
template <class From, class To>
__global__ void __launch_bounds__(threads)
    convert_kernel(const From* x, int64_t x_stride, To* y, int64_t stride, int64_t rows, int64_t cols, bool aligned) {
  constexpr int width = 8;
  const int64_t across = (stride + width - 1) / width, i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= rows * across) return;
  const int64_t row = i / across, col = i % across * width;
  float values[width];
  load_floats_before(x + row * x_stride + col, cols - col, aligned, values);
  To* const to = y + row * stride + col;
  if (aligned && col + width <= stride) {
    store_floats(to, values);
    return;
  }
  for (int j = 0; j < width && col + j < stride; ++j) to[j] = from_float<To>(values[j]);
}

// Writes y[c][r] = x[r][c]. Rows of y are `stride` long, and end with zeros. A block takes 32 x 32 elements.
struct TransposedTile {
  float at[32][33];
};
template <class From, class To>
__global__ void __launch_bounds__(threads)
    transpose_kernel(const From* x, int64_t x_stride, To* y, int64_t stride, int64_t rows, int64_t cols) {
  TransposedTile& tile = block_shared<TransposedTile>();
  const int lane = static_cast<int>(threadIdx.x) % 32, line = static_cast<int>(threadIdx.x) / 32;
  const int64_t across = (stride + 31) / 32, first_row = blockIdx.x % across * 32, first_col = blockIdx.x / across * 32;
  for (int i = line; i < 32; i += 8) {
    const int64_t row = first_row + i, col = first_col + lane;
    tile.at[i][lane] = row < rows && col < cols ? to_float(x[row * x_stride + col]) : 0.0f;
  }
  sync_block();
  for (int i = line; i < 32; i += 8) {
    const int64_t row = first_row + lane, col = first_col + i;
    if (col < cols && row < stride) y[col * stride + row] = from_float<To>(tile.at[lane][i]);
  }
}

// A lane takes neighbouring elements, as a vector or one by one, so that sums have the same order.
template <class T>
__global__ void __launch_bounds__(threads)
    row_sums_kernel(const T* x, int64_t stride, int64_t rows, int64_t k, bool aligned, float* sums) {
  constexpr int width = vector_width<T>;
  const int64_t row = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / warp_size;
  const int lane = lane_index();
  if (row >= rows) return;
  float sum = 0;
  for (int64_t i = lane * width; i < k; i += warp_size * width) {
    float part[width];
    load_floats_before(x + row * stride + i, k - i, aligned, part);
    ENGINE_UNROLL
    for (int j = 0; j < width; ++j) sum += part[j];
  }
  sum = warp_sum(sum);
  if (lane == 0) sums[row] += sum;
}

// Sums columns. A lane takes `width` of them, and a block takes 32 lanes' columns and, by blockIdx.y, part_k rows. Each
// of its eight warps sums every eighth row. Parts follow one another.
template <int width>
struct ColumnSums {
  float of_warp[8][warp_size * width];
};
template <int width, class T>
__global__ void __launch_bounds__(threads)
    column_sums_kernel(const T* x, int64_t stride, int64_t cols, int64_t k, int64_t part_k, float* parts) {
  ColumnSums<width>& shared = block_shared<ColumnSums<width>>();
  const int thread = static_cast<int>(threadIdx.x), lane = lane_index(), warp = warp_index();
  const int64_t first = int64_t{blockIdx.x} * warp_size * width, col = first + lane * width;
  const int64_t begin = blockIdx.y * part_k, end = std::min(begin + part_k, k);
  float sums[width] = {};
  if (col < cols) {
    for (int64_t i = begin + warp; i < end; i += 8) {
      float part[width];
      load_floats(x + i * stride + col, part);
      ENGINE_UNROLL
      for (int j = 0; j < width; ++j) sums[j] += part[j];
    }
  }
  ENGINE_UNROLL
  for (int j = 0; j < width; ++j) shared.of_warp[warp][lane * width + j] = sums[j];
  sync_block();
  if (thread >= warp_size * width || first + thread >= cols) return;
  float sum = 0;
  for (int i = 0; i < 8; ++i) sum += shared.of_warp[i][thread];
  parts[blockIdx.y * cols + first + thread] = sum;
}

__global__ void __launch_bounds__(threads)
    add_parts_kernel(const float* parts, int64_t count, int64_t cols, float* sums) {
  const int64_t col = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (col >= cols) return;
  float sum = 0;
  for (int64_t part = 0; part < count; ++part) sum += parts[part * cols + col];
  sums[col] += sum;
}

bool is_aligned(const void* data, int64_t stride, DType dtype) {
  return reinterpret_cast<uintptr_t>(data) % 16 == 0 && stride * static_cast<int64_t>(size_of(dtype)) % 16 == 0;
}

}  // namespace

int64_t padded(int64_t count, DType dtype) { return rounded_up(count, 16 / static_cast<int64_t>(size_of(dtype))); }

MatrixProducts::MatrixProducts(const Device& device, Arena& workspace, const std::string& choice)
    : device_(device), workspace_(workspace), library_(LibraryProducts::make(device, workspace, choice)) {}
MatrixProducts::~MatrixProducts() = default;

void MatrixProducts::convert(const Factor& from, DType dtype, int64_t stride, void* to) {
  // A matrix without gaps is one long row.
  const bool flat = from.stride == from.cols() && stride == from.cols();
  const int64_t rows = flat ? 1 : from.rows(), cols = flat ? from.rows() * from.cols() : from.cols();
  const int64_t wide = flat ? cols : stride;
  const bool aligned =
      is_aligned(from.data, flat ? 0 : from.stride, from.dtype) && is_aligned(to, flat ? 0 : stride, dtype);
  with_device_elements(from.data, from.dtype, [&](auto* x) {
    with_device_elements(to, dtype, [&](auto* y) {
      using From = std::remove_cvref_t<decltype(*x)>;
      using To = std::remove_cvref_t<decltype(*y)>;
      launch(convert_kernel<From, To>, blocks(ceil_div(rows * ceil_div(wide, 8), threads)), threads, 0,
             device_.compute_stream(), x, from.stride, y, wide, rows, cols, aligned);
    });
  });
}

void MatrixProducts::convert_transposed(const Factor& from, DType dtype, int64_t stride, void* to) {
  with_device_elements(from.data, from.dtype, [&](auto* x) {
    with_device_elements(to, dtype, [&](auto* y) {
      using From = std::remove_cvref_t<decltype(*x)>;
      using To = std::remove_cvref_t<decltype(*y)>;
      launch(transpose_kernel<From, To>, blocks(ceil_div(stride, 32) * ceil_div(from.cols(), 32)), threads, 0,
             device_.compute_stream(), x, from.stride, y, stride, from.rows(), from.cols());
    });
  });
}

Factor MatrixProducts::prepared(const Factor& factor, DType dtype, bool zeros_behind_rows) {
  const bool ends_well = !zeros_behind_rows || !factor.k_contiguous || padded(factor.k, dtype) == factor.k;
  if (factor.dtype == dtype && is_aligned(factor.data, factor.stride, dtype) && ends_well) return factor;
  Factor result = factor;
  result.dtype = dtype;
  result.stride = padded(factor.cols(), dtype);
  void* const to = workspace_.make(dtype, {factor.rows(), result.stride}).data;
  convert(factor, dtype, result.stride, to);
  result.data = to;
  return result;
}

void MatrixProducts::multiply(const Product& product) {
  const bool sums_added = multiply_matrices(product);
  if (product.a_row_sums && !sums_added) add_row_sums(product.a, product.a_row_sums);
}

// Returns whether the row sums, if any, have been added, too.
bool MatrixProducts::multiply_matrices(const Product& product) {
  if (product.a.outer == 0 || product.b.outer == 0) return false;
  ArenaScope scope(workspace_);
  const cudaStream_t stream = device_.compute_stream();
  Product ready = product;
  if (library_ && product.a.k > 0) {
    ready.a = prepared(product.a, product.compute, false);
    ready.b = prepared(product.b, product.compute, false);
    const bool as_it_lies = ready.a.data == product.a.data;  // sums are taken before rounding
    if (product.a_row_sums && as_it_lies && library_->multiply_with_row_sums(ready, *this)) return true;
    if (library_->multiply(ready, *this)) return false;
  }
  ready.a = prepared(ready.a, product.compute, true);
  ready.b = prepared(ready.b, product.compute, true);
  multiply_by_own_kernel(ready, workspace_, stream);
  return false;
}

void MatrixProducts::add_parts(const float* parts, int64_t count, int64_t cols, float* sums) {
  launch(add_parts_kernel, blocks(ceil_div(cols, threads)), threads, 0, device_.compute_stream(), parts, count, cols,
         sums);
}

void MatrixProducts::add_row_sums(const Factor& a, float* sums) {
  if (a.outer == 0 || a.k == 0) return;
  const cudaStream_t stream = device_.compute_stream();
  const bool aligned = is_aligned(a.data, a.stride, a.dtype);
  with_device_elements(a.data, a.dtype, [&](auto* x) {
    using T = std::remove_cvref_t<decltype(*x)>;
    if (a.k_contiguous) {
      launch(row_sums_kernel<T>, blocks(ceil_div(a.outer * warp_size, threads)), threads, 0, stream, x, a.stride,
             a.outer, a.k, aligned, sums);
      return;
    }
    ArenaScope scope(workspace_);
    constexpr int64_t most_parts = 64, shortest = 128;
    constexpr int vector = vector_width<T>;
    const int64_t part_k = std::max(ceil_div(a.k, most_parts), shortest), count = ceil_div(a.k, part_k);
    float* const parts = workspace_.make(DType::f32, {count, a.outer}).template as<float>();
    with_width<vector>(aligned && a.outer % vector == 0, [&](auto width) {
      launch(column_sums_kernel<width.value, T>, blocks(ceil_div(a.outer, warp_size * width.value), count), threads, 0,
             stream, x, a.stride, a.outer, a.k, part_k, parts);
    });
    add_parts(parts, count, a.outer, sums);
  });
}

// A packed op(b) holds its columns one after another, in the dtype that is multiplied: [n][padded k].
size_t CudaOps::packed_bytes(int64_t k, int64_t n, DType compute) {
  return static_cast<size_t>(n * padded(k, compute)) * size_of(compute);
}

MatrixProducts& CudaOps::products() {
  if (!products_) products_ = std::make_unique<MatrixProducts>(device_, workspace_, options_.matmul);
  return *products_;
}

void CudaOps::pack_matrix(const PackArgs& args) {
  const Operation operation("pack_matrix", {args.b});
  const Factor b = Factor::right(args.b, args.transpose_b);
  check_pack(args, packed_bytes(b.k, b.outer, args.compute));
  const int64_t stride = padded(b.k, args.compute);
  if (b.k_contiguous) products().convert(b, args.compute, stride, args.packed.data);
  else products().convert_transposed(b, args.compute, stride, args.packed.data);
}

void CudaOps::matmul(const MatmulArgs& args) {
  const Operation operation("matmul", {args.a, args.b, args.c});
  const Factor a = Factor::left(args.a, args.transpose_a);
  Factor b = Factor::right(args.b, args.transpose_b);
  check_matmul(args, packed_bytes(b.k, b.outer, args.compute));
  if (args.packed_b) b = {args.packed_b.data, args.compute, true, b.outer, b.k, padded(b.k, args.compute)};
  // The derivative of the identity is 1.
  const Tensor gradient_at = args.activation == Activation::none ? Tensor{} : args.gradient_at;
  Epilogue epilogue;
  epilogue.c = args.c;
  epilogue.before = args.before_activation;
  epilogue.gradient_at = gradient_at;
  epilogue.bias = args.bias.as<float>();
  epilogue.activation = args.activation;
  epilogue.accumulate = args.accumulate;
  products().multiply({a, b, args.compute, epilogue, args.a_row_sums.as<float>()});
}

}  // namespace engine::cuda
