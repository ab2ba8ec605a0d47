#include "kernels/observe/time_ops.h"

#include <chrono>
#include <thread>

#include "core/error.h"
#include "kernels/backend/backend.h"
#include "kernels/backend/timed_backend.h"
#include "kernels/observe/count_ops.h"
#include "tests/operation.h"

namespace engine::test::test_time_ops {

namespace {

// Causal attention over sequences of 2 and 3 rows, between a large and two small products.
struct Work {
  explicit Work(Memory& memory) : arena(memory) {
    const int32_t offsets[] = {0, 2, 5};
    segments = arena.make(DType::i32, {3});
    memory.copy_in(segments.data, offsets, sizeof(offsets));
  }
  void run(Ops& ops) {
    const Segments rows = Segments::packed(segments, 3);
    ops.matmul({.a = large, .b = large, .c = product});
    ops.attention_forward({.q = Columns(qkv, 0, 8), .k = Columns(qkv, 8, 8), .v = Columns(qkv, 16, 8), .heads = 2,
                           .queries = rows, .keys = rows, .causal = true, .y = y});
    for (int i = 0; i < 2; ++i) ops.matmul({.a = y, .b = small, .c = small_product});
  }

  Arena arena;
  Tensor segments, large = arena.make_zeros(DType::f32, {160, 160}), product = arena.make_zeros(DType::f32, {160, 160});
  Tensor qkv = arena.make_zeros(DType::f32, {5, 24}), y = arena.make_zeros(DType::f32, {5, 8});
  Tensor small = arena.make_zeros(DType::f32, {8, 4}), small_product = arena.make_zeros(DType::f32, {5, 4});
};

}  // namespace

TEST_CASE("time: every device's operations have times of their own, and the counts of the same work") {
  std::vector<OperationCount> counts;
  const std::unique_ptr<Ops> counter = make_count_ops(counts);
  Work(host_memory()).run(*counter);
  for (const std::string& device : devices()) {
    CAPTURE(device);
    const std::unique_ptr<TimeOps> ops = make_timed_ops(device);
    Work work(ops->memory());
    for (int run = 0; run < 5; ++run) {
      if (run > 0) ops->begin_run();
      work.run(*ops);
    }
    const std::vector<OperationTime> times = ops->times();
    REQUIRE(times.size() == counts.size());
    for (size_t i = 0; i < times.size(); ++i) {
      CHECK(times[i].operation.is_like(counts[i]));
      CHECK(times[i].operation.calls == counts[i].calls);
      CHECK(times[i].seconds > 0);
    }
    CHECK(times[0].seconds > times[2].seconds);  // 5,000 times the work
  }
}

TEST_CASE("time: runs that differ, and a work that was never timed, are errors") {
  const std::unique_ptr<TimeOps> ops = make_timed_ops("cpu");
  Work work(ops->memory());
  CHECK_THROWS_WITH_AS(ops->times(), "timing: no run was timed", Error);
  ops->begin_run();
  work.run(*ops);
  CHECK_THROWS_WITH_AS(ops->times(), "timing: no run was timed", Error);
  ops->begin_run();
  CHECK_THROWS_WITH_AS(ops->copy({.x = work.qkv, .y = work.qkv}),
                       "timing: call 0 is copy, which it was not in the run before", Error);
  ops->matmul({.a = work.y, .b = work.small, .c = work.small_product});
  CHECK_THROWS_WITH_AS(ops->times(), "timing: a run of 1 operations follows one of 4", Error);
}

TEST_CASE("time: the host's stopwatch tells the time between marks, and begins anew when it was read") {
  const std::unique_ptr<Stopwatch> watch = make_host_stopwatch();
  CHECK(watch->seconds().empty());
  watch->mark();
  std::this_thread::sleep_for(std::chrono::milliseconds(3));
  watch->mark();
  watch->mark();
  const std::vector<double> seconds = watch->seconds();
  REQUIRE(seconds.size() == 2);
  CHECK(seconds[0] >= 0.003);
  CHECK(seconds[1] < seconds[0]);
  CHECK(watch->seconds().empty());
}

}  // namespace engine::test::test_time_ops
