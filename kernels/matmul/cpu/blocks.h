// A product in blocks of c. Both operands are packed into panels, and the blocks are handed out to the threads. The
// shape alone decides what a block is, and one thread sums all of K, so the bits are the same at any number of threads.
#pragma once

#include "core/arena.h"
#include "core/parallel.h"
#include "kernels/matmul/cpu/bf16_kernel.h"
#include "kernels/matmul/cpu/product.h"
#include "kernels/matmul/cpu/row_sums.h"

namespace engine::ENGINE_ISA {

// Divides the panels of c's rows and columns into blocks, and decides which operand the blocks pack for themselves.
// Measurements gave the bounds at which one way overtakes the other.
struct Blocks {
  int64_t row_panels, col_panels;  // of c
  int64_t rows = 0, cols = 0;      // blocks
  bool packs_b_itself;             // each block packs its own part of b
  bool packs_a_itself;             // each block packs its own part of a

  Blocks(const Operand& a, const Operand& b, bool b_is_packed)
      : row_panels(ceil_div(a.outer, KernelBf16::rows)), col_panels(ceil_div(b.outer, KernelBf16::cols)) {
    const int64_t most_rows = KernelBf16::row_panels, most_cols = KernelBf16::col_panels;
    const bool a_in_place = KernelBf16::reads_in_place(a);
    // A block with all of c's rows reads its part of b once, from where it lies, but all of a. So it takes few rows, or
    // an a that stays in the L2 cache. With a long b (logits), packing it apart would cost two more passes over memory.
    const bool few_rows = row_panels <= 2 || (a.outer <= 288 && col_panels > most_cols);
    const bool small_a = a.outer * a.k <= 1024 * 768 && col_panels >= 16;
    const bool long_b = row_panels <= 4 * most_rows && col_panels >= 512;
    packs_b_itself = !b_is_packed && (few_rows || small_a || long_b);

    int64_t block_rows = packs_b_itself ? row_panels : std::min(most_rows, row_panels);
    int64_t block_cols = std::min(most_cols, col_panels);
    // With many rows and a small b, blocks are as wide as c, so that each can pack its part of a.
    if (b.outer * b.k <= 512 * 512 && row_panels >= tasks_wanted * most_rows) block_cols = col_panels;
    while (ceil_div(row_panels, block_rows) * ceil_div(col_panels, block_cols) < tasks_wanted) {
      const bool rows_may = !packs_b_itself && block_rows > 2, keeps_width = block_cols == col_panels && !a_in_place;
      if (rows_may && (block_rows > block_cols || (keeps_width && block_rows > 4)))
        block_rows = ceil_div(block_rows, 2);
      else if (block_cols > 1) block_cols = ceil_div(block_cols, 2);
      else if (rows_may) block_rows = ceil_div(block_rows, 2);
      else break;
    }
    rows = ceil_div(row_panels, block_rows);
    cols = ceil_div(col_panels, block_cols);
    packs_a_itself = !a_in_place && !packs_b_itself && cols == 1;
  }
  // Blocks differ by at most one panel.
  static int64_t start(int64_t panels, int64_t blocks, int64_t i) { return panels * i / blocks; }

 private:
  static constexpr int64_t tasks_wanted = 16;  // enough for threads of unequal speed
};

// Divides the packing of panels into tasks. Where k is contiguous a task has a few panels, else a range of k for many
// panels. Either way it reads memory in long runs.
struct PackTasks {
  int64_t panels, k, task_panels, task_k, step;

  PackTasks(const Operand& from, int64_t panels_, int64_t k_block)
      : panels(panels_),
        k(from.k),
        task_panels(from.k_contiguous ? 8 : 64),
        task_k(from.k_contiguous ? from.k : 128),
        step(from.k_contiguous ? k_block : 32) {}
  int64_t count() const { return k > 0 ? ceil_div(panels, task_panels) * ceil_div(k, task_k) : 0; }
  // Returns a task's first panel, and the first k of its range.
  int64_t first_panel(int64_t i) const { return i % ceil_div(panels, task_panels) * task_panels; }
  int64_t begin_k(int64_t i) const { return i / ceil_div(panels, task_panels) * task_k; }
  template <class PackPanel>
  void run(int64_t i, const PackPanel& pack) const {
    const int64_t first = first_panel(i), begin = begin_k(i), end = std::min(begin + task_k, k);
    for (int64_t j = begin; j < end; j += step)
      for (int64_t panel = first; panel < std::min(first + task_panels, panels); ++panel)
        pack(panel, j, std::min(j + step, end));
  }
};

class BlockedProduct : ProductOf<KernelBf16> {
 public:
  BlockedProduct(const MatmulArgs& args, Arena& workspace)
      : ProductOf(args),
        packed_b_(static_cast<bf16*>(args.packed_b.data)),
        blocks_(a_, b_, packed_b_ != nullptr) {
    a_stride_ = KernelBf16::a_panel_elements(a_.k);
    b_stride_ = KernelBf16::b_panel_elements(a_.k);
    // A last panel of fewer rows is always packed. So are, of the others, the last k that do not fill a range of 32.
    first_packed_a_ = KernelBf16::reads_in_place(a_) ? a_.outer / KernelBf16::rows : 0;
    in_place_k_ = a_.k / 32 * 32;
    a_ends_ = scratch(workspace, in_place_k_ < a_.k ? first_packed_a_ * KernelBf16::a_panel_elements(1) : 0);
    if (!packed_b_ && !blocks_.packs_b_itself) {
      packed_b_ = scratch(workspace, blocks_.col_panels * b_stride_);
      packs_b_ = true;
    }
    const int64_t most_rows = ceil_div(blocks_.row_panels, blocks_.rows);
    const int64_t most_cols = ceil_div(blocks_.col_panels, blocks_.cols);
    // Steps are about equal, at most k_block.
    k_step_ = rounded_up(ceil_div(a_.k, std::max<int64_t>(ceil_div(a_.k, KernelBf16::k_block), 1)), 32);
    k_step_ = std::max<int64_t>(k_step_, 32);
    sums_tiles_ = k_step_ < a_.k ? most_rows * most_cols + 1 : 2;  // a whole block's, or two in turn
    sums_ = workspace.make(DType::f32, {thread_count(), sums_tiles_ * tile_elements}).as<float>();
    packed_a_ = scratch(workspace, blocks_.packs_a_itself ? 0 : (blocks_.row_panels - first_packed_a_) * a_stride_);
    a_part_stride_ = k_step_ * KernelBf16::rows;
    a_part_elements_ = blocks_.packs_a_itself ? most_rows * a_part_stride_ : 0;
    a_part_ = scratch(workspace, thread_count() * a_part_elements_);
    b_part_ = scratch(workspace, blocks_.packs_b_itself ? thread_count() * part_elements : 0);
    if (row_sums_ && !a_.k_contiguous && !blocks_.packs_a_itself && a_.k > 0)
      partial_sums_ =
          workspace.make_zeros(DType::f32, {ceil_div(a_.k, a_tasks().task_k), a_.outer}).as<float>();
  }

  void run() {
    pack();
    parallel_for(blocks_.rows * blocks_.cols, [&](int64_t i) { multiply_block(i % blocks_.rows, i / blocks_.rows); });
    if (partial_sums_) add_row_sums_of(partial_sums_, ceil_div(a_.k, a_tasks().task_k));
    else if (row_sums_) add_row_sums(a_, row_sums_);
  }

  static void pack_b(const Operand& b, bf16* packed) {
    const PackTasks tasks(b, ceil_div(b.outer, KernelBf16::cols), KernelBf16::k_block);
    parallel_for(tasks.count(), [&](int64_t i) {
      tasks.run(i, [&](int64_t panel, int64_t begin, int64_t end) {
        KernelBf16::pack_b(b, panel, begin, end,
                          packed + panel * KernelBf16::b_panel_elements(b.k) + begin * KernelBf16::cols);
      });
    });
  }

 private:
  static constexpr int64_t tile_elements = int64_t{KernelBf16::rows} * KernelBf16::cols;
  static constexpr int64_t part_elements = KernelBf16::k_block * KernelBf16::cols;

  static bf16* scratch(Arena& workspace, int64_t count) {
    return workspace.make(DType::bf16, {count}).as<bf16>();
  }

  PackTasks a_tasks() const {
    return PackTasks(a_, blocks_.packs_a_itself ? 0 : blocks_.row_panels - first_packed_a_, KernelBf16::k_block);
  }

  void pack() {
    const PackTasks a_tasks = this->a_tasks();
    const PackTasks b_tasks(b_, packs_b_ ? blocks_.col_panels : 0, KernelBf16::k_block);
    if (in_place_k_ < a_.k)
      parallel_chunks(first_packed_a_, 8, [&](int64_t first, int64_t last) {
        for (int64_t panel = first; panel < last; ++panel)
          KernelBf16::pack_a(a_, panel, in_place_k_, a_.k, a_ends_ + panel * KernelBf16::a_panel_elements(1));
      });
    parallel_for(a_tasks.count() + b_tasks.count(), [&](int64_t i) {
      if (i < a_tasks.count()) {
        a_tasks.run(i, [&](int64_t panel, int64_t begin, int64_t end) {
          KernelBf16::pack_a(a_, first_packed_a_ + panel, begin, end,
                            packed_a_ + panel * a_stride_ + begin * KernelBf16::rows);
        });
        if (partial_sums_) {  // while the cache still holds the packed rows
          const int64_t first = a_tasks.first_panel(i) * KernelBf16::rows, begin = a_tasks.begin_k(i);
          add_row_sums(a_, first, std::min(first + a_tasks.task_panels * KernelBf16::rows, a_.outer), begin,
                       std::min(begin + a_tasks.task_k, a_.k), partial_sums_ + begin / a_tasks.task_k * a_.outer);
        }
      } else {
        b_tasks.run(i - a_tasks.count(), [&](int64_t panel, int64_t begin, int64_t end) {
          KernelBf16::pack_b(b_, panel, begin, end, packed_b_ + panel * b_stride_ + begin * KernelBf16::cols);
        });
      }
    });
  }

  // A tile with complete sums, and how many of its rows are stored.
  struct Finished {
    const float* tile = nullptr;
    int64_t row = 0, col = 0;
    int stored = 0, rows = 0;
  };
  void store_rows(Finished& finished, int rows) const {
    const int count = std::min(rows, finished.rows - finished.stored);
    if (count <= 0) return;
    epilogue_.store_tile(finished.tile + finished.stored * KernelBf16::cols, finished.row + finished.stored,
                         finished.col, count,
                         static_cast<int>(std::min<int64_t>(KernelBf16::cols, b_.outer - finished.col)));
    finished.stored += count;
  }

  // The place in c of the next tile, and how many of its rows are fetched. They are fetched while the tile before is
  // summed, a few at a time: many at once would hold up the loads of tiles.
  struct Coming {
    int64_t row = 0, col = 0;
    int rows = 0, fetched = 0;
  };
  ENGINE_INLINE void fetch_rows(Coming& coming, int rows) const {
    const int count = std::min(rows, coming.rows - coming.fetched);
    if (count <= 0) return;
    epilogue_.prefetch(coming.row + coming.fetched, coming.col, count);
    coming.fetched += count;
  }
  // Fetches a panel of a while `tiles` tiles are summed, if there is such a panel and it is read from where it lies.
  FetchAhead<second_cache> rows_ahead(int64_t row, int64_t row_end, int64_t k, int64_t end, int64_t tiles) const {
    const bool fetches = row < std::min(row_end, first_packed_a_);
    return operand_ahead(a_, row * KernelBf16::rows, fetches ? KernelBf16::rows : 0, k, end,
                         tiles * ceil_div(end - k, 32));
  }
  // Fetches the panel of b, from k on, that is packed or multiplied next.
  FetchAhead<second_cache> columns_ahead(int64_t col, int64_t k, int64_t tiles) const {
    const int64_t end = std::min(k + k_step_, b_.k), first = col * KernelBf16::cols;
    const int64_t ranges = ceil_div(std::max<int64_t>(end - k, 0), 32);
    if (!packed_b_)
      return operand_ahead(b_, first, std::min<int64_t>(KernelBf16::cols, b_.outer - first), k, end, tiles * ranges);
    FetchAhead<second_cache> ahead;
    ahead.add(packed_b_ + col * b_stride_ + k * KernelBf16::cols, 0, ranges * KernelBf16::b_panel_elements(1) * 2, 1);
    ahead.set_calls(tiles * ranges);
    return ahead;
  }
  // Adds k ... end-1 to a tile's sums, or begins them where k is 0. `panel` is a's where the block packed it.
  template <class Between>
  ENGINE_INLINE void multiply(int64_t row, const bf16* panel, const bf16* b, int64_t k, int64_t end, float* tile,
                              const Between& between) const {
    const bool in_place = !panel && row < first_packed_a_;
    const int64_t stop = in_place ? std::min(end, in_place_k_) : end;
    if (!panel && !in_place) panel = packed_a_ + (row - first_packed_a_) * a_stride_ + k * KernelBf16::rows;
    if (k < stop || stop == end)
      KernelBf16::multiply(in_place ? KernelBf16::in_place(a_, row, k) : KernelBf16::packed(panel), b, stop - k,
                           rows_of(row), k > 0, tile, between);
    if (stop < end)
      KernelBf16::multiply(KernelBf16::packed(a_ends_ + row * KernelBf16::a_panel_elements(1)),
                           b + (stop - k) * KernelBf16::cols, end - stop, rows_of(row), true, tile, between);
  }

  void multiply_block(int64_t block_row, int64_t block_col) {
    const int64_t row_begin = Blocks::start(blocks_.row_panels, blocks_.rows, block_row);
    const int64_t row_end = Blocks::start(blocks_.row_panels, blocks_.rows, block_row + 1);
    const int64_t col_begin = Blocks::start(blocks_.col_panels, blocks_.cols, block_col);
    const int64_t col_end = Blocks::start(blocks_.col_panels, blocks_.cols, block_col + 1);
    float* const sums = sums_ + thread_index() * sums_tiles_ * tile_elements;
    bf16* const a_part = a_part_ + thread_index() * a_part_elements_;
    bf16* const b_part = b_part_ + thread_index() * part_elements;
    const TileRegisters registers;
    Finished finished;
    const int64_t height = row_end - row_begin, width = col_end - col_begin;
    struct Place {
      int64_t row, col;
    };
    // With few rows the bound is b's way from memory. Then, and where its panels are packed one at a time, each panel
    // is used for all rows before the next one.
    const bool down_columns = blocks_.packs_b_itself || blocks_.row_panels <= 4;
    const auto place = [&](int64_t tile) {
      return down_columns ? Place{row_begin + tile % height, col_begin + tile / height}
                          : Place{row_begin + tile / width, col_begin + tile % width};
    };
    for (int64_t k = 0; k == 0 || k < a_.k; k += k_step_) {
      const int64_t end = std::min(k + k_step_, a_.k);
      const bool last = end == a_.k;
      for (int64_t row = row_begin; blocks_.packs_a_itself && row < row_end; ++row)
        KernelBf16::pack_a(a_, row, k, end, a_part + (row - row_begin) * a_part_stride_);
      // Along c's rows a few rows of a stay in the cache, b is read straight on, and the next rows of a are fetched.
      FetchAhead<second_cache> next_a = rows_ahead(row_begin, row_begin, k, end, width), next_b;
      for (int64_t tile = 0; tile < height * width; ++tile) {
        const auto [row, col] = place(tile);
        if (down_columns && row == row_begin) {
          if (blocks_.packs_b_itself) KernelBf16::pack_b(b_, col, k, end, b_part);
          const bool in_range = col + 1 < col_end;
          // One or two panels of rows are multiplied no faster than the memory gives b, whoever asks for it.
          if (blocks_.packs_b_itself || height > 2)
            next_b = columns_ahead(in_range ? col + 1 : col_begin, in_range ? k : end, height);
        }
        if (!down_columns && col == col_begin) next_a = rows_ahead(row + 1, row_end, k, end, width);
        const bf16* b = packed_b_ ? packed_b_ + col * b_stride_ + k * KernelBf16::cols : b_part;
        float* const at = sums + (sums_tiles_ > 2 ? tile : tile & 1) * tile_elements;
        Coming coming{};
        if (last && tile + 1 < height * width) {
          const auto [next_row, next_col] = place(tile + 1);
          coming = {next_row * KernelBf16::rows, next_col * KernelBf16::cols, rows_of(next_row)};
        }
        // The tile before is stored while this one is summed, for vectors and tiles are units of their own.
        const bf16* const a = blocks_.packs_a_itself ? a_part + (row - row_begin) * a_part_stride_ : nullptr;
        multiply(row, a, b, k, end, at, [&](int rows) __attribute__((always_inline)) {
          store_rows(finished, rows);
          fetch_rows(coming, rows);
          next_a.some();
          next_b.some();
        });
        store_rows(finished, KernelBf16::rows);
        fetch_rows(coming, KernelBf16::rows);
        if (last) finished = {at, row * KernelBf16::rows, col * KernelBf16::cols, 0, rows_of(row)};
      }
    }
    store_rows(finished, KernelBf16::rows);
  }

  float* partial_sums_ = nullptr;  // [ranges of k][outer], a range for each packing task
  bf16 *packed_a_, *packed_b_, *a_part_, *b_part_;
  bool packs_b_ = false;
  int64_t first_packed_a_, in_place_k_;  // of panels before the first, these first k are read in place
  bf16* a_ends_;                         // their other k
  const Blocks blocks_;
  int64_t a_stride_, b_stride_, a_part_stride_, a_part_elements_, sums_tiles_, k_step_;
  float* sums_;
};

}  // namespace engine::ENGINE_ISA
