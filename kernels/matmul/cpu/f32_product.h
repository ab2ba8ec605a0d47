// A product in f32, in blocks of c that are handed out to the threads. A block goes through k in chunks so short that a
// panel of a chunk of op(a) stays in the L1 cache and the block's part of a chunk of op(b) in the L2 cache. Few and
// long sums (gradients of weights) are also divided into pieces of k, whose sums are kept apart and added in their
// order. The shape alone decides all of this, so the bits are the same at any number of threads.
#pragma once

#include "core/arena.h"
#include "core/parallel.h"
#include "kernels/matmul/cpu/f32_kernel.h"
#include "kernels/matmul/cpu/product.h"
#include "kernels/matmul/cpu/row_sums.h"

namespace engine::ENGINE_ISA {

// Divides c's panels of rows and columns into blocks, k into chunks, and the chunks into pieces.
struct BlocksF32 {
  static constexpr int64_t tasks_wanted = 16;  // enough for threads of unequal speed

  int64_t row_panels, col_panels, k_step, chunks;
  int64_t row_blocks, col_blocks, pieces = 1;

  BlocksF32(int64_t m, int64_t n, int64_t k)
      : row_panels(ceil_div(m, KernelF32::rows)), col_panels(ceil_div(n, KernelF32::cols)) {
    const int64_t most_k = m <= KernelF32::rows ? 2048 : KernelF32::most_k;
    k_step = std::max<int64_t>(rounded_up(ceil_div(k, std::max<int64_t>(ceil_div(k, most_k), 1)), 16), 16);
    chunks = std::max<int64_t>(ceil_div(k, k_step), 1);
    constexpr int64_t b_elements = KernelF32::b_elements, sums_tiles = 448;  // a block's
    int64_t rows = col_panels > 128 ? row_panels : std::min<int64_t>(row_panels, 20);
    int64_t cols = std::clamp<int64_t>(b_elements / (k_step * KernelF32::cols), 1, std::max<int64_t>(col_panels, 1));
    while (chunks > 1 && rows * cols > sums_tiles) (rows > 2 * cols || cols == 1 ? rows : cols) /= 2;
    while (ceil_div(row_panels, rows) * ceil_div(col_panels, cols) * pieces < tasks_wanted) {
      if (rows >= 32) rows = ceil_div(rows, 2);
      else if (cols >= 16) cols = ceil_div(cols, 2);
      else if (chunks >= 4 * pieces && 2 * pieces * m * n <= 1 << 22) pieces *= 2;
      else if (rows >= 8) rows = ceil_div(rows, 2);
      else if (cols >= 2) cols = ceil_div(cols, 2);
      else if (rows >= 2) rows = ceil_div(rows, 2);
      else break;
    }
    row_blocks = ceil_div(row_panels, rows);
    col_blocks = ceil_div(col_panels, cols);
  }
  // Blocks differ by at most one panel, pieces by one chunk.
  static int64_t start(int64_t units, int64_t parts, int64_t i) { return units * i / parts; }
};

class ProductF32 : ProductOf<KernelF32> {
 public:
  // `rounds` rounds the operands to bf16.
  ProductF32(const MatmulArgs& args, bool rounds, Arena& workspace)
      : ProductOf(args),
        rounds_(rounds),
        stored_{AnyMatrix(args.c), AnyMatrix(args.before_activation), AnyMatrix(args.gradient_at)},
        packed_b_(static_cast<const float*>(args.packed_b.data)),
        blocks_(a_.outer, b_.outer, a_.k) {
    const int64_t most_rows = ceil_div(blocks_.row_panels, blocks_.row_blocks);
    const int64_t most_cols = ceil_div(blocks_.col_panels, blocks_.col_blocks);
    a_in_place_ = a_.k_contiguous && !a_.is_bf16 && !rounds && a_.stride % 1024 != 0;
    a_part_elements_ =
        a_.k_contiguous ? KernelF32::rows * (blocks_.k_step + a_padding) : most_rows * a_panel_elements();
    b_part_elements_ = packed_b_ || !packs_b_itself() ? 0 : most_cols * b_panel_elements();
    sums_elements_ = (blocks_.chunks > 1 && blocks_.pieces == 1 ? most_rows * most_cols : 1) * KernelF32::tile_elements;
    const auto floats = [&](int64_t count) { return workspace.make(DType::f32, {count}).as<float>(); };
    a_parts_ = floats(thread_count() * a_part_elements_);
    b_parts_ = floats(thread_count() * b_part_elements_);
    sums_ = floats(thread_count() * sums_elements_);
    if (blocks_.pieces > 1) partial_ = floats(blocks_.pieces * piece_elements());
    if (blocks_.pieces > 1 && row_sums_)
      partial_row_sums_ = workspace.make_zeros(DType::f32, {blocks_.pieces, a_.outer}).as<float>();
    if (!packed_b_ && !packs_b_itself()) {
      float* const packed = floats(packed_elements(b_));
      pack_all(b_, rounds, packed);
      packed_b_ = packed;
    }
  }

  void run() {
    parallel_for(blocks_.row_blocks * blocks_.col_blocks * blocks_.pieces, [&](int64_t i) { multiply_block(i); });
    if (blocks_.pieces > 1) parallel_for(blocks_.row_panels, [&](int64_t row) { add_pieces(row); });
    if (partial_row_sums_) add_row_sums_of(partial_row_sums_, blocks_.pieces);
  }

  // Packs all of op(b) in panels: element (k, j) of panel p is at [p][k][j].
  static int64_t packed_elements(const Operand& b) {
    return ceil_div(b.outer, KernelF32::cols) * b.k * KernelF32::cols;
  }
  static void pack_all(const Operand& b, bool rounds, float* packed) {
    constexpr int64_t task_panels = 8, task_k = 256;
    const int64_t panels = ceil_div(b.outer, KernelF32::cols), parts = ceil_div(panels, task_panels);
    parallel_for(parts * ceil_div(b.k, task_k), [&](int64_t i) {
      const int64_t first = i % parts * task_panels, begin = i / parts * task_k, end = std::min(begin + task_k, b.k);
      pack<KernelF32::cols>(b, first, std::min(first + task_panels, panels), begin, end, b.k, rounds,
                            packed + (first * b.k + begin) * KernelF32::cols, b.k * KernelF32::cols);
    });
  }

 private:
  static constexpr int64_t pack_step = 32;
  static constexpr int64_t a_padding = 16;  // keeps copied rows from lying a power of two apart

  bool packs_b_itself() const { return blocks_.row_blocks <= 2 || b_.outer * b_.k > int64_t{1} << 23; }
  int64_t a_panel_elements() const { return blocks_.k_step * KernelF32::rows; }
  int64_t b_panel_elements() const { return blocks_.k_step * KernelF32::cols; }
  int64_t piece_elements() const { return blocks_.row_panels * blocks_.col_panels * KernelF32::tile_elements; }

  // Packs the panels first ... last-1, each `stride` behind the one before, in short steps of k, so that memory is read
  // in runs whichever way the operand lies. The step after each, as far as fetch_end, is fetched meanwhile.
  template <int width>
  static void pack(const Operand& from, int64_t first, int64_t last, int64_t begin, int64_t end, int64_t fetch_end,
                   bool rounds, float* to, int64_t stride) {
    const int64_t outer = std::min(last * width, from.outer) - first * width;
    for (int64_t k = begin; k < end; k += pack_step) {
      const int64_t step_end = std::min(k + pack_step, end);
      FetchAhead<second_cache> next =
          operand_ahead(from, first * width, outer, step_end, std::min(step_end + pack_step, fetch_end), last - first);
      for (int64_t panel = first; panel < last; ++panel) {
        next.some();
        float* const at = to + (panel - first) * stride + (k - begin) * width;
        if (from.is_bf16) pack_panel_f32<width, bf16>(from, panel * width, k, step_end, rounds, at);
        else pack_panel_f32<width, float>(from, panel * width, k, step_end, rounds, at);
      }
    }
  }

  // Returns a panel's rows where they lie in memory, or copies them to `part`.
  KernelF32::Left rows_of_a(int64_t row, int64_t begin, int64_t end, float* part) const {
    if (a_in_place_) return {static_cast<const float*>(a_.data) + row * KernelF32::rows * a_.stride + begin, a_.stride};
    const int64_t stride = blocks_.k_step + a_padding;
    for (int i = 0; i < rows_of(row); ++i) {
      const int64_t from = (row * KernelF32::rows + i) * a_.stride + begin;
      if (a_.is_bf16) copy_row(static_cast<const bf16*>(a_.data) + from, end - begin, false, part + i * stride);
      else copy_row(static_cast<const float*>(a_.data) + from, end - begin, rounds_, part + i * stride);
    }
    return {part, stride};
  }
  template <class T>
  static void copy_row(const T* from, int64_t count, bool rounds, float* to) {
    for (int64_t k = 0; k < count; k += lanes) {
      const vfloat v = load_count(from + k, count - k);
      store(to + k, rounds ? rounded_to_bf16(v) : v);  // lanes beyond the row are padding
    }
  }

  // Lists the lines to fetch while tile (row, col), the column's `place` of `places` in its block, is multiplied: the
  // tile's place in c, if its sums will be complete, and a part of the next panel of rows.
  FetchAhead<> lines_ahead(int64_t row, int64_t col, bool finishes, bool more_rows, int64_t k, int64_t end,
                           int64_t place, int64_t places) const {
    FetchAhead<> lines;
    if (finishes)
      for (const AnyMatrix& matrix : stored_)
        if (matrix) {
          const int64_t size = matrix.is_bf16 ? 2 : 4;
          lines.add(matrix.data + (row * KernelF32::rows * matrix.stride + col * KernelF32::cols) * size,
                    matrix.stride * size, 128, rows_of(row));
        }
    if (a_.k_contiguous && more_rows) {
      const int64_t size = a_.is_bf16 ? 2 : 4, pair = 128 / size, pairs = ceil_div(end - k, pair);
      const char* const next =
          static_cast<const char*>(a_.data) + ((row + 1) * KernelF32::rows * a_.stride + k) * size;
      for (int64_t i = pairs * place / places; i < pairs * (place + 1) / places; ++i)
        lines.add(next + i * 128, a_.stride * size, 128, rows_of(row + 1));
    }
    return lines;
  }

  // Packs the block's part of op(a) for a chunk, and adds up its rows while they are in the cache.
  void pack_a(int64_t row_begin, int64_t row_end, int64_t begin, int64_t end, float* row_sums, float* to) const {
    for (int64_t k = begin; k < end; k += pack_step) {
      const int64_t step_end = std::min(k + pack_step, end);
      if (row_sums)
        add_row_sums(a_, row_begin * KernelF32::rows, std::min(row_end * KernelF32::rows, a_.outer), k, step_end,
                     row_sums);
      if (!a_.k_contiguous)
        pack<KernelF32::rows>(a_, row_begin, row_end, k, step_end, end, rounds_, to + (k - begin) * KernelF32::rows,
                              a_panel_elements());
    }
  }

  void multiply_block(int64_t index) {
    const int64_t block_row = index % blocks_.row_blocks, block_col = index / blocks_.row_blocks % blocks_.col_blocks;
    const int64_t piece = index / blocks_.row_blocks / blocks_.col_blocks;
    const int64_t row_begin = BlocksF32::start(blocks_.row_panels, blocks_.row_blocks, block_row),
                  row_end = BlocksF32::start(blocks_.row_panels, blocks_.row_blocks, block_row + 1);
    const int64_t col_begin = BlocksF32::start(blocks_.col_panels, blocks_.col_blocks, block_col),
                  col_end = BlocksF32::start(blocks_.col_panels, blocks_.col_blocks, block_col + 1);
    const int64_t first_chunk = BlocksF32::start(blocks_.chunks, blocks_.pieces, piece),
                  last_chunk = BlocksF32::start(blocks_.chunks, blocks_.pieces, piece + 1);
    float* const a_part = a_parts_ + thread_index() * a_part_elements_;
    float* const b_part = b_parts_ + thread_index() * b_part_elements_;
    float* const own_sums = sums_ + thread_index() * sums_elements_;
    const int64_t width = col_end - col_begin;
    for (int64_t chunk = first_chunk; chunk < last_chunk; ++chunk) {
      const int64_t k = chunk * blocks_.k_step, end = std::min(k + blocks_.k_step, a_.k);
      const bool finishes = !partial_ && chunk + 1 == last_chunk;
      float* const row_sums = partial_row_sums_ ? partial_row_sums_ + piece * a_.outer : row_sums_;
      pack_a(row_begin, row_end, k, end, block_col == 0 ? row_sums : nullptr, a_part);
      if (!packed_b_)
        pack<KernelF32::cols>(b_, col_begin, col_end, k, end, end, rounds_, b_part, b_panel_elements());
      for (int64_t row = row_begin; row < row_end; ++row) {
        const KernelF32::Left a = a_.k_contiguous
                                      ? rows_of_a(row, k, end, a_part)
                                      : KernelF32::Left{a_part + (row - row_begin) * a_panel_elements(), 0};
        for (int64_t col = col_begin; col < col_end; ++col) {
          const float* const b = packed_b_ ? packed_b_ + (col * b_.k + k) * KernelF32::cols
                                           : b_part + (col - col_begin) * b_panel_elements();
          float* sums = own_sums;
          if (partial_)
            sums = partial_ + piece * piece_elements() + (row * blocks_.col_panels + col) * KernelF32::tile_elements;
          else if (blocks_.chunks > 1) sums += ((row - row_begin) * width + col - col_begin) * KernelF32::tile_elements;
          FetchAhead<> lines = lines_ahead(row, col, finishes, row + 1 < row_end, k, end, col - col_begin, width);
          KernelF32::multiply(a, b, end - k, rows_of(row), chunk > first_chunk, sums, lines);
          if (finishes) store_tile(sums, row, col);
        }
      }
    }
  }

  // Adds the pieces' sums of a panel of rows.
  void add_pieces(int64_t row) const {
    for (int64_t col = 0; col < blocks_.col_panels; ++col)
      store_sum(partial_ + (row * blocks_.col_panels + col) * KernelF32::tile_elements, blocks_.pieces,
                piece_elements(), row, col);
  }

  const bool rounds_;
  const AnyMatrix stored_[3];  // matrices that the epilogue writes and reads
  const float* packed_b_;  // null where blocks pack their own part
  const BlocksF32 blocks_;
  bool a_in_place_;
  int64_t a_part_elements_, b_part_elements_, sums_elements_;
  float *a_parts_, *b_parts_, *sums_;  // each thread's
  float* partial_ = nullptr;           // [pieces][tiles of c]
  float* partial_row_sums_ = nullptr;
};

}  // namespace engine::ENGINE_ISA
