// Operations of a warp on the simulated device, against plain loops, and their refusals.
#include <bit>
#include <cmath>

#include "core/random.h"
#include "kernels/cuda/block.h"
#include "tests/cudasim/kernel_run.h"

namespace engine::test::test_warp {

using namespace engine::cuda;

namespace {

constexpr int lanes = 32;

__global__ void exchange_kernel(const int* x, int* y) {
  const int lane = static_cast<int>(threadIdx.x), value = x[lane];
  int* const out = y + 5 * lane;
  out[0] = shuffle(value, 3);
  out[1] = shuffle_xor(value, 5);
  out[2] = shuffle_up(value, 2);
  out[3] = static_cast<int>(ballot(value % 3 == 0));
  out[4] = static_cast<int>(match_any(static_cast<unsigned>(value % 3)));
}

// The two halves of a warp exchange apart from each other.
__global__ void halves_kernel(float* y) {
  const int lane = static_cast<int>(threadIdx.x);
  const unsigned mask = lane < 16 ? 0xffffu : 0xffff0000u;
  float value = static_cast<float>(lane);
  for (int distance = 8; distance > 0; distance /= 2) value += shuffle_xor(value, distance, mask);
  y[lane] = shuffle(value, lane);  // the halves meet
}

enum Fault { lane_not_in_mask, masks_differ, operations_differ, source_not_in_mask, lane_has_ended, lane_is_elsewhere };
__global__ void wrong_kernel(float* y, int fault) {
  const int lane = static_cast<int>(threadIdx.x);
  float value = 1;
  if (fault == lane_not_in_mask) value = shuffle(value, 1, 0xfffeu);
  if (fault == masks_differ) value = shuffle(value, 16, lane < 16 ? full_warp : 0xffff0000u);
  if (fault == operations_differ) {
    if (lane < 16)
      value = shuffle(value, 0);
    else
      sync_warp();
  }
  if (fault == source_not_in_mask) value = lane < 16 ? shuffle(value, 20, 0xffffu) : value;
  if (fault == lane_has_ended && lane == 7) return;
  if (fault == lane_has_ended) value = shuffle(value, 0);
  if (fault == lane_is_elsewhere) {
    if (lane == 7)
      sync_block();
    else
      value = shuffle(value, 0);
  }
  y[lane] = value;
}

__global__ void block_reduce_kernel(const float* x, float* y) {
  const float value = x[threadIdx.x];
  y[2 * threadIdx.x] = block_sum(value);
  y[2 * threadIdx.x + 1] = block_max(value);
}

struct Tiles {
  uint16_t a[16][16], b[8][16];  // b lies transposed for the instruction
};
// Multiplies a 16x16 and a 16x8 matrix. If `transposed`, b lies untransposed, 16x8 in two 8x8 matrices one over the
// other.
template <bool transposed>
__global__ void product_kernel(const bfloat16* a, const bfloat16* b, const float* c, float* y) {
  Tiles& tiles = block_shared<Tiles>();
  const int lane = static_cast<int>(threadIdx.x), group = lane / 4, pair = 2 * (lane % 4);
  uint16_t* const b_rows = &tiles.b[0][0];
  for (int i = lane; i < 16 * 16; i += lanes) tiles.a[i / 16][i % 16] = reinterpret_cast<const uint16_t*>(a)[i];
  for (int i = lane; i < 16 * 8; i += lanes) {
    const uint16_t bits = reinterpret_cast<const uint16_t*>(b)[i];
    if (transposed)
      b_rows[i] = bits;
    else
      tiles.b[i % 8][i / 8] = bits;
  }
  sync_warp();
  uint32_t a_part[4], b_part[4];
  load_matrix_x4(a_part, &tiles.a[lane % 16][8 * (lane / 16)]);
  // Lanes 16 ... 31 give addresses of matrices 2 and 3, which this kernel does not use.
  if (transposed)
    load_matrix_x4_transposed(b_part, b_rows + 8 * (lane % 16));
  else
    load_matrix_x4(b_part, &tiles.b[lane % 8][8 * (lane / 8 % 2)]);
  float sums[4];
  for (int i = 0; i < 4; ++i) sums[i] = c[(group + 8 * (i / 2)) * 8 + pair + i % 2];
  multiply_add_16x8x16(sums, a_part, b_part[0], b_part[1]);
  for (int i = 0; i < 4; ++i) y[(group + 8 * (i / 2)) * 8 + pair + i % 2] = sums[i];
}

__global__ void misaligned_matrix_kernel(float* y) {
  Tiles& tiles = block_shared<Tiles>();
  uint32_t part[4];
  load_matrix_x4(part, &tiles.a[0][threadIdx.x == 9 ? 4 : 0]);
  y[threadIdx.x] = static_cast<float>(part[0]);
}

}  // namespace

TEST_CASE("simulated device: exchanges of a warp are those of plain loops, in every order of threads") {
  KernelRun run;
  std::vector<int> x(lanes);
  for (int i = 0; i < lanes; ++i) x[static_cast<size_t>(i)] = (i * 7 + 3) % 41;
  const Tensor in = run.arena.make(DType::i32, {lanes}), out = run.arena.make(DType::i32, {lanes, 5});
  run.arena.memory().copy_in(in.data, x.data(), in.bytes());
  const auto at = [&](int lane) { return x[static_cast<size_t>(lane)]; };
  unsigned thirds[3]{};
  for (int i = 0; i < lanes; ++i) thirds[at(i) % 3] |= 1u << i;
  for (const cudasim::Order order : every_order) {
    cudasim::set_order(order);
    run.start(exchange_kernel, 1, lanes, 0, in.as<int32_t>(), out.as<int32_t>());
    std::vector<int> y(lanes * 5);
    run.arena.memory().copy_out(y.data(), out.data, out.bytes());
    for (int lane = 0; lane < lanes; ++lane) {
      const std::vector<int> expected{at(3),
                                      at(lane ^ 5),
                                      at(lane < 2 ? lane : lane - 2),
                                      static_cast<int>(thirds[0]),
                                      static_cast<int>(thirds[at(lane) % 3])};
      CHECK(std::vector<int>(y.begin() + 5 * lane, y.begin() + 5 * lane + 5) == expected);
    }
    float* const halves = run.fresh(lanes);
    run.start(halves_kernel, 1, lanes, 0, halves);
    const std::vector<float> sums = run.values(halves, lanes);
    for (int lane = 0; lane < lanes; ++lane) CHECK(sums[static_cast<size_t>(lane)] == (lane < 16 ? 120.0f : 376.0f));
  }
}

TEST_CASE("simulated device: wrong masks, sources and companions of a warp's operations are errors") {
  KernelRun run;
  float* const y = run.fresh(lanes);
  const auto error = [&](Fault fault) { return run.error(wrong_kernel, lanes, 0, y, static_cast<int>(fault)); };
  for (const cudasim::Order order : every_order) {
    cudasim::set_order(order);
    CHECK(contains(error(lane_not_in_mask), "is not in its own mask 0xfffe"));
    CHECK(contains(error(masks_differ), "which has ended"));
    CHECK(contains(error(operations_differ), "waits at shuffle for thread (16, 0, 0), which waits at sync_warp"));
    CHECK(contains(error(source_not_in_mask), "from lane 20, which is not in the mask 0xffff"));
    CHECK(contains(error(lane_has_ended), "has ended"));
    CHECK(contains(error(lane_is_elsewhere), "waits at shuffle for thread (7, 0, 0), which waits at sync_block"));
  }
  CHECK(contains(error(lane_not_in_mask), "kernel wrong_kernel, block (0, 0, 0), thread ("));
  CHECK(contains(run.error(wrong_kernel, 16, 0, y, static_cast<int>(operations_differ)),
                 "the mask names lane 16, which the warp has not"));
}

TEST_CASE("simulated device: sums and maxima over a block, the same bits in every order") {
  KernelRun run;
  Random random(3, 0);
  for (const unsigned threads : {32u, 96u, 1024u}) {
    std::vector<float> x(threads);
    for (float& value : x) value = random.normal();
    const float* const on_device = run.upload(x);
    float* const y = run.fresh(2 * threads);
    std::vector<float> first;
    for (const cudasim::Order order : every_order) {
      cudasim::set_order(order);
      run.start(block_reduce_kernel, 1, threads, 0, on_device, y);
      const std::vector<float> result = run.values(y, 2 * threads);
      if (first.empty()) first = result;
      CHECK(result == first);
    }
    double sum = 0, largest = -INFINITY;
    for (const float value : x) {
      sum += static_cast<double>(value);
      largest = std::max(largest, static_cast<double>(value));
    }
    for (size_t i = 0; i < threads; ++i) {
      CHECK(std::abs(static_cast<double>(first[2 * i]) - sum) < 1e-4);
      CHECK(static_cast<double>(first[2 * i + 1]) == largest);
    }
  }
}

TEST_CASE("simulated device: matrices of tensor cores and how they are loaded, against plain loops") {
  KernelRun run;
  Random random(5, 0);
  std::vector<bf16> a(16 * 16), b(16 * 8);
  std::vector<float> c(16 * 8);
  for (bf16& value : a) value = bf16(random.normal());
  for (bf16& value : b) value = bf16(random.normal());
  for (float& value : c) value = random.normal();
  const Tensor a_tensor = run.arena.make(DType::bf16, {16, 16}), b_tensor = run.arena.make(DType::bf16, {16, 8});
  run.arena.memory().copy_in(a_tensor.data, a.data(), a_tensor.bytes());
  run.arena.memory().copy_in(b_tensor.data, b.data(), b_tensor.bytes());
  const auto* const a_data = static_cast<const bfloat16*>(a_tensor.data);
  const auto* const b_data = static_cast<const bfloat16*>(b_tensor.data);
  const float* const c_data = run.upload(c);
  float* const y = run.fresh(16 * 8);
  for (const auto kernel : {product_kernel<false>, product_kernel<true>}) {
    run.start(kernel, 1, lanes, 0, a_data, b_data, c_data, y);
    const std::vector<float> result = run.values(y, 16 * 8);
    for (size_t i = 0; i < 16; ++i)
      for (size_t j = 0; j < 8; ++j) {
        double sum = static_cast<double>(c[i * 8 + j]);
        for (size_t k = 0; k < 16; ++k)
          sum += static_cast<double>(static_cast<float>(a[i * 16 + k])) *
                 static_cast<double>(static_cast<float>(b[k * 8 + j]));
        CHECK(result[i * 8 + j] == static_cast<float>(sum));
      }
  }
  CHECK(contains(run.error(misaligned_matrix_kernel, lanes, 0, y), "thread (9, 0, 0): misaligned"));
}

}  // namespace engine::test::test_warp
