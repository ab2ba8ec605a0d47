// Bank conflicts of the tiles that tensor cores and multiply-adds read. The simulated device counts those of ldmatrix
// while our own kernels run, and the functions that place pieces give those of vector accesses.
#include <algorithm>
#include <vector>

#include "kernels/backend/cuda_backend.h"
#include "kernels/matmul/cuda/tile.h"
#include "tests/attention_problem.h"
#include "tests/cudasim/kernel_run.h"

namespace engine::test::test_banks {

using namespace engine::cuda;

namespace {

// Reads a matrix of 8 rows, one behind the other or in neighbouring pieces of 16 bytes.
__global__ void load_rows_kernel(float* y, int stride) {
  char* const shared = dynamic_shared<char>();
  const int lane = lane_index();
  reinterpret_cast<float*>(shared)[lane] = 0;
  sync_warp();
  uint32_t part[4];
  load_matrix_x4(part, shared + lane % 8 * stride);
  y[lane] = static_cast<float>(part[0]);
}

// Returns how many accesses of `bytes` bytes, by lanes that are served together, lie in the fullest group of banks.
int turns(const std::vector<int>& offsets, int bytes) {
  std::vector<std::vector<int>> rows(static_cast<size_t>(128 / bytes));
  for (const int offset : offsets) {
    std::vector<int>& group = rows[static_cast<size_t>(offset / bytes % (128 / bytes))];
    if (std::find(group.begin(), group.end(), offset) == group.end()) group.push_back(offset);
  }
  size_t most = 0;
  for (const auto& group : rows) most = std::max(most, group.size());
  return static_cast<int>(most);
}

// Copies of a tile: neighbouring threads write neighbouring pieces of a row.
template <class Tile>
void check_copies() {
  for (int first = 0; first < Tile::rows * Tile::row_pieces; first += 8) {
    std::vector<int> offsets;
    for (int i = first; i < first + 8; ++i)
      offsets.push_back(Tile::offset(i / Tile::row_pieces, i % Tile::row_pieces) * 16 / Tile::piece);
    REQUIRE(turns(offsets, 16) == 1);
  }
}

}  // namespace

TEST_CASE("banks: the simulated device counts the conflicts of ldmatrix") {
  KernelRun run;
  float* const y = run.fresh(32);
  const auto conflicts = [&](int stride) {
    const uint64_t before = cudasim::bank_conflicts();
    run.start(load_rows_kernel, 1, 32, 4096, y, stride);
    run.device.synchronize();
    return cudasim::bank_conflicts() - before;
  };
  CHECK(conflicts(16) == 0);
  CHECK(conflicts(0) == 0);         // one row for all
  CHECK(conflicts(32) == 4);        // two rows in each group, in four phases
  CHECK(conflicts(128) == 4 * 7);
}

TEST_CASE("banks: our own products and attention read their tiles without a conflict") {
  const std::unique_ptr<Ops> ops = make_cuda_ops({.matmul = "own"});
  Arena arena(ops->memory(), size_t{1} << 28);
  Bench bench{*ops, arena, DType::bf16};
  const uint64_t before = cudasim::bank_conflicts();
  for (const int64_t size : {60, 1030})  // tiles of 64 x 64, and of 128 x 128
    for (int form = 0; form < 4; ++form) {
      const ArenaScope scope(arena);
      const bool ta = form & 1, tb = form & 2;
      const int64_t rows = size == 60 ? 60 : 1030, k = 70;
      ops->matmul({.a = bench.zeros(ta ? Shape{k, rows} : Shape{rows, k}),
                   .b = bench.zeros(tb ? Shape{rows, k} : Shape{k, rows}),
                   .c = bench.zeros({rows, rows}),
                   .transpose_a = ta,
                   .transpose_b = tb,
                   .compute = DType::bf16});
      bench.finish();
    }
  for (const int width : {32, 64, 96, 128}) AttentionProblem(bench, {1, width, {{40, 40}, {9, 9}}, true, 0.2f}).check();
  arena.memory().copy_out(std::vector<char>(4).data(), arena.make_zeros(DType::f32, {1}).data, 4);
  CHECK(cudasim::bank_conflicts() == before);
}

TEST_CASE("banks: copies into tiles, vectors out of them and sums on their way have no conflict") {
  check_copies<OperandTile<bfloat16, 128, 32, true>>();
  check_copies<OperandTile<bfloat16, 128, 32, false>>();
  check_copies<OperandTile<bfloat16, 64, 32, true>>();
  check_copies<OperandTile<bfloat16, 64, 32, false>>();
  check_copies<OperandTile<float, 64, 16, true>>();
  check_copies<OperandTile<float, 64, 16, false>>();
  // Multiply-adds: 8 lanes read 8 neighbouring rows of a tile with contiguous k, or 8 neighbouring fours of one k.
  using Contiguous = OperandTile<float, 64, 16, true>;
  using Strided = OperandTile<float, 64, 16, false>;
  for (int i = 0; i < 64; i += 8)
    for (int k = 0; k < 4; ++k) {
      std::vector<int> rows;
      for (int lane = 0; lane < 8; ++lane) rows.push_back(Contiguous::offset(i + lane, k) * 4);
      REQUIRE(turns(rows, 16) == 1);
    }
  for (int k = 0; k < 16; ++k)
    for (int half = 0; half < 2; ++half) {
      std::vector<int> fours;
      for (int lane = 0; lane < 8; ++lane) fours.push_back(Strided::offset(k, lane + 8 * half) * 4);
      REQUIRE(turns(fours, 16) == 1);
    }
  // Sums: half a warp writes pairs of 4 neighbouring rows, in 8 columns.
  for (int row = 0; row < 64; row += 8)
    for (int col = 0; col < 64; col += 8)
      for (int half = 0; half < 2; ++half) {
        std::vector<int> pairs;
        for (int lane = 16 * half; lane < 16 * half + 16; ++lane)
          pairs.push_back(sum_offset<64>(row + lane / 4, col + lane % 4 * 2) * 4);
        REQUIRE(turns(pairs, 8) == 1);
      }
}

}  // namespace engine::test::test_banks
