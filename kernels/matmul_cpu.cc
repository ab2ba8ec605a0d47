#include <algorithm>

#include "core/arena.h"
#include "core/parallel.h"
#include "kernels/cpu_ops.h"
#include "kernels/matmul_epilogue.h"

namespace engine::ENGINE_ISA {

namespace {

constexpr int64_t tile_rows = lanes == 4 ? 4 : 6, tile_cols = 2 * lanes;

// op(m) of a product: element (outer, k) lies at outer * outer_stride + k * k_stride.
struct Operand {
  const Tensor& matrix;
  int64_t outer, k, outer_stride, k_stride;
  bool to_bf16;

  float at(int64_t i, int64_t j) const {
    const int64_t index = i * outer_stride + j * k_stride;
    const float value = matrix.dtype == DType::bf16 ? static_cast<float>(static_cast<const bf16*>(matrix.data)[index])
                                                    : static_cast<const float*>(matrix.data)[index];
    return to_bf16 ? static_cast<float>(bf16(value)) : value;
  }
};

Operand left(const Tensor& a, bool transposed, DType compute) {
  const bool rounds = compute == DType::bf16;
  if (transposed) return {a, a.cols(), a.rows(), 1, a.cols(), rounds};
  return {a, a.rows(), a.cols(), a.cols(), 1, rounds};
}
Operand right(const Tensor& b, bool transposed, DType compute) { return left(b, !transposed, compute); }

// panels[p][k][width]: `width` rows of the operand side by side for every k; zeros where it has no more rows.
void pack(const Operand& from, int64_t width, float* panels) {
  parallel_for((from.outer + width - 1) / width, [&](int64_t p) {
    float* to = panels + p * width * from.k;
    for (int64_t j = 0; j < from.k; ++j)
      for (int64_t i = 0; i < width; ++i) {
        const int64_t row = p * width + i;
        to[j * width + i] = row < from.outer ? from.at(row, j) : 0.0f;
      }
  });
}

void multiply_tile(const float* a, const float* b, int64_t k, float* tile) {
  vfloat sums[tile_rows][2] = {};
  for (int64_t j = 0; j < k; ++j, a += tile_rows, b += tile_cols) {
    const vfloat b0 = load(b), b1 = load(b + lanes);
    for (int i = 0; i < tile_rows; ++i) {
      sums[i][0] += a[i] * b0;
      sums[i][1] += a[i] * b1;
    }
  }
  for (int i = 0; i < tile_rows; ++i) {
    store(tile + i * tile_cols, sums[i][0]);
    store(tile + i * tile_cols + lanes, sums[i][1]);
  }
}

int64_t padded(int64_t size, int64_t unit) { return (size + unit - 1) / unit * unit; }

}  // namespace

size_t CpuOps::packed_bytes(int64_t k, int64_t n, DType) { return static_cast<size_t>(padded(n, tile_cols) * k) * 4; }

void CpuOps::pack_matrix(const PackArgs& args) {
  const Operand b = right(args.b, args.transpose_b, args.compute);
  require(args.packed.bytes() == packed_bytes(b.k, b.outer, args.compute), "pack_matrix: packed has ",
          args.packed.bytes(), " bytes, needs ", packed_bytes(b.k, b.outer, args.compute));
  pack(b, tile_cols, reinterpret_cast<float*>(args.packed.as<uint8_t>()));
}

void CpuOps::matmul(const MatmulArgs& args) {
  const Operand a = left(args.a, args.transpose_a, args.compute), b = right(args.b, args.transpose_b, args.compute);
  require(a.k == b.k && args.c.rows() == a.outer && args.c.cols() == b.outer, "matmul: a ", args.a.shape.text(), ", b ",
          args.b.shape.text(), " and c ", args.c.shape.text(), " do not fit");
  ArenaScope scope(workspace_);
  const int64_t row_tiles = (a.outer + tile_rows - 1) / tile_rows, col_tiles = (b.outer + tile_cols - 1) / tile_cols;
  float* packed_a = workspace_.make(DType::f32, {row_tiles * tile_rows, a.k}).as<float>();
  pack(a, tile_rows, packed_a);
  const float* packed_b = static_cast<const float*>(args.packed_b.data);
  if (!packed_b) {
    float* scratch = workspace_.make(DType::f32, {col_tiles * tile_cols, b.k}).as<float>();
    pack(b, tile_cols, scratch);
    packed_b = scratch;
  }
  const Epilogue epilogue(args);
  parallel_for(col_tiles, [&](int64_t col) {
    alignas(64) float tile[tile_rows * tile_cols];
    for (int64_t row = 0; row < row_tiles; ++row) {
      multiply_tile(packed_a + row * tile_rows * a.k, packed_b + col * tile_cols * b.k, a.k, tile);
      epilogue.store_tile(tile, tile_cols, row * tile_rows, col * tile_cols,
                          static_cast<int>(std::min(tile_rows, a.outer - row * tile_rows)),
                          static_cast<int>(std::min(tile_cols, b.outer - col * tile_cols)));
    }
  });
  if (args.a_row_sums) {
    const Operand exact = left(args.a, args.transpose_a, DType::f32);
    float* sums = args.a_row_sums.as<float>();
    parallel_for(exact.outer, [&](int64_t i) {
      float sum = 0;
      for (int64_t j = 0; j < exact.k; ++j) sum += exact.at(i, j);
      sums[i] += sum;
    });
  }
}

}  // namespace engine::ENGINE_ISA
