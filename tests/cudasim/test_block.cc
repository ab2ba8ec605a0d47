// The simulated device must find the faults of kernels. Each of these kernels has one.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include "kernels/cuda/block.h"
#include "tests/cudasim/kernel_run.h"
#include "tests/cudasim/sanitizer.h"

namespace engine::test::test_block {

using namespace engine::cuda;

namespace {

constexpr int block_size = 64;

struct Row {
  float at[block_size];
};

// Gives every thread its neighbour's element, which needs a barrier between writing and reading.
template <bool with_barrier>
__global__ void rotate_kernel(const float* x, float* y) {
  Row& row = block_shared<Row>();
  const unsigned i = threadIdx.x;
  row.at[i] = x[i];
  if (with_barrier) sync_block();
  y[i] = row.at[(i + 1) % block_size];
}

__global__ void divergent_barrier_kernel(float* y) {
  if (threadIdx.x != 5) sync_block();
  y[threadIdx.x] = 1;
}

__global__ void early_exit_kernel(float* y) {
  if (threadIdx.x >= 60) return;
  sync_block();
  y[threadIdx.x] = 1;
}

__global__ void different_barriers_kernel(float* y) {
  if (threadIdx.x < 32)
    sync_block();
  else
    sync_block_or(true);
  y[threadIdx.x] = 1;
}

// Writes one element of shared memory, or behind it.
__global__ void shared_overrun_kernel(float* y, int index) {
  Row& row = block_shared<Row>();
  float* const volatile elements = row.at;
  if (threadIdx.x == 0) elements[index] = 1;
  sync_block();
  y[threadIdx.x] = 0;
}
__global__ void dynamic_overrun_kernel(float* y, int index) {
  float* const elements = dynamic_shared<float>();
  if (threadIdx.x == 0) elements[index] = 1;
  sync_block();
  y[threadIdx.x] = 0;
}

// Copies four elements a thread through shared memory. `wrong` 0 is right, 1 does not wait, 2 waits for all but one
// group though there is one, 3 does not commit.
template <int wrong>
__global__ void copy_kernel(const float* x, float* y) {
  Row& row = block_shared<Row>();
  const int i = static_cast<int>(threadIdx.x);
  if (i < block_size / 4) copy_async_16(row.at + 4 * i, x + 4 * i);
  if (wrong != 3) copy_async_commit();
  if (wrong == 0 || wrong == 3) copy_async_wait<0>();
  if (wrong == 2) copy_async_wait<1>();
  sync_block();
  y[i] = row.at[i];
}
__global__ void zero_copy_kernel(const float* x, float* y) {
  Row& row = block_shared<Row>();
  const int i = static_cast<int>(threadIdx.x);
  if (i < block_size / 4) copy_async_16(row.at + 4 * i, x + 4 * i, i % 2 == 0);
  copy_async_commit();
  copy_async_wait<0>();
  sync_block();
  y[i] = row.at[i];
}
__global__ void misaligned_copy_kernel(const float* x, float* y) {
  Row& row = block_shared<Row>();
  if (threadIdx.x == 0) copy_async_16(row.at, x + 1);
  y[threadIdx.x] = 0;
}

__global__ void vector_kernel(const float* x, float* y, int offset) {
  store_vector(y, load_vector(x + offset));
}

__global__ void uninitialised_shared_kernel(float* y) { y[threadIdx.x] = block_shared<Row>().at[threadIdx.x]; }

// A fast warp without the second barrier writes the next round's values while others read this one's.
template <bool with_barrier>
__global__ void two_rounds_kernel(float* y) {
  Row& row = block_shared<Row>();
  const unsigned i = threadIdx.x;
  float sum = 0;
  for (int round = 0; round < 2; ++round) {
    row.at[i] = static_cast<float>(100 * round) + static_cast<float>(i);
    sync_block();
    sum += row.at[(i + 33) % block_size];
    if (with_barrier) sync_block();
  }
  y[i] = sum;
}

void check_all_nan(const std::vector<float>& values) {
  for (const float value : values) CHECK(std::isnan(value));
}

}  // namespace

TEST_CASE("simulated device: a barrier keeps order, and without it the orders of threads disagree") {
  const std::vector<float> x = counted(block_size);
  std::vector<float> expected = x;
  std::rotate(expected.begin(), expected.begin() + 1, expected.end());
  KernelRun run;
  const float* const on_device = run.upload(x);
  float* const y = run.fresh(block_size);
  std::set<std::vector<float>> right, wrong;
  for (const cudasim::Order order : every_order) {
    cudasim::set_order(order);
    run.start(rotate_kernel<true>, 1, block_size, 0, on_device, y);
    CHECK(run.values(y, block_size) == expected);
    run.start(rotate_kernel<false>, 1, block_size, 0, on_device, y);
    CHECK(run.values(y, block_size) != expected);
    run.start(two_rounds_kernel<true>, 1, block_size, 0, y);
    right.insert(run.values(y, block_size));
    run.start(two_rounds_kernel<false>, 1, block_size, 0, y);
    wrong.insert(run.values(y, block_size));
  }
  CHECK(right.size() == 1);
  CHECK(wrong.size() > 1);
}

TEST_CASE("simulated device: a barrier that not every thread reaches is an error that names kernel and threads") {
  KernelRun run;
  float* const y = run.fresh(block_size);
  for (const cudasim::Order order : every_order) {
    cudasim::set_order(order);
    CHECK(contains(run.error(divergent_barrier_kernel, block_size, 0, y),
                   "kernel divergent_barrier_kernel, block (0, 0, 0), thread (0, 0, 0) waits at sync_block for thread "
                   "(5, 0, 0), which has ended"));
    CHECK(contains(run.error(early_exit_kernel, block_size, 0, y),
                   "waits at sync_block for thread (60, 0, 0), which has ended"));
    CHECK(contains(run.error(different_barriers_kernel, block_size, 0, y), "while other threads of the block wait at"));
  }
  run.start(rotate_kernel<true>, 1, block_size, 0, run.upload(counted(block_size)), y);  // all is well again
  CHECK(run.values(y, block_size)[0] == 1);
}

TEST_CASE("simulated device: writes outside of shared memory are found when the block ends") {
  KernelRun run;
  float* const y = run.fresh(block_size);
  CHECK(run.error(shared_overrun_kernel, block_size, 0, y, block_size - 1).empty());
  CHECK(run.error(dynamic_overrun_kernel, block_size, sizeof(Row), y, block_size - 1).empty());
  if (cudasim::sanitized) return;  // the sanitizer ends the program at once (test_faults.cc)
  for (const int index : {-1, block_size}) {
    CHECK(contains(run.error(shared_overrun_kernel, block_size, 0, y, index), "wrote outside its shared memory"));
    CHECK(contains(run.error(dynamic_overrun_kernel, block_size, sizeof(Row), y, index),
                   "wrote outside its shared memory"));
  }
}

TEST_CASE("simulated device: an asynchronous copy lands when it is waited for, and not before") {
  KernelRun run;
  const float* const x = run.upload(counted(block_size));
  float* const y = run.fresh(block_size);
  run.start(copy_kernel<0>, 1, block_size, 0, x, y);
  CHECK(run.values(y, block_size) == counted(block_size));
  for (const auto kernel : {copy_kernel<1>, copy_kernel<2>, copy_kernel<3>}) {
    run.start(kernel, 1, block_size, 0, x, y);
    check_all_nan(run.values(y, block_size));
  }
  run.start(zero_copy_kernel, 1, block_size, 0, x, y);
  const std::vector<float> half = run.values(y, block_size);
  for (size_t i = 0; i < half.size(); ++i) CHECK(half[i] == (i / 4 % 2 == 0 ? static_cast<float>(i) : 0.0f));
}

TEST_CASE("simulated device: misaligned vectors and copies are errors") {
  KernelRun run;
  const float* const x = run.upload(counted(block_size));
  float* const y = run.fresh(block_size);
  CHECK(run.error(vector_kernel, 1, 0, x, y, 4).empty());
  CHECK(run.values(y, 4) == std::vector<float>{4, 5, 6, 7});
  CHECK(contains(run.error(vector_kernel, 1, 0, x, y, 2),
                 "kernel vector_kernel, block (0, 0, 0), thread (0, 0, 0): misaligned vector access"));
  CHECK(contains(run.error(misaligned_copy_kernel, block_size, 0, x, y), "misaligned"));
}

TEST_CASE("simulated device: memory that nothing was written to holds NaNs") {
  KernelRun run;
  float* y = run.fresh(block_size);
  run.start(uninitialised_shared_kernel, 1, block_size, 0, y);
  check_all_nan(run.values(y, block_size));
  {
    const ArenaScope scope(run.arena);
    run.upload(counted(8));
  }
  y = run.fresh(8);  // writes the same bytes
  run.start(vector_kernel, 1, 1, 0, run.upload(counted(8)), y, 0);
  const std::vector<float> result = run.values(y, 8);
  CHECK(result[3] == 3);
  check_all_nan({result.begin() + 4, result.end()});
}

}  // namespace engine::test::test_block
