// Accesses that the processor or the address sanitizer finds end the program. Each test runs in a process of its own,
// and reads its last words.
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <functional>

#include "kernels/cuda/block.h"
#include "tests/cudasim/kernel_run.h"
#include "tests/cudasim/sanitizer.h"
#include "tests/skip.h"

namespace engine::test::test_faults {

using namespace engine::cuda;

namespace {

// Returns the last words of `body` on standard error in a process of its own, and "" where it ends well.
std::string last_words(const std::function<void()>& body) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);
    close(ends[0]);
    body();
    _exit(0);
  }
  close(ends[1]);
  std::string text;
  char part[4096];
  for (ssize_t size; (size = read(ends[0], part, sizeof part)) > 0;) text.append(part, static_cast<size_t>(size));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? "" : text;
}

__global__ void read_kernel(const float* x, float* y) { y[threadIdx.x] = x[threadIdx.x]; }

struct Cell {
  float at[32];
};
__global__ void shared_overrun_kernel(float* y, int index) {
  Cell& cell = block_shared<Cell>();
  float* const volatile elements = cell.at;
  if (threadIdx.x == 0) elements[index] = 1;
  sync_block();
  y[threadIdx.x] = 0;
}

void deep(float* y, int depth) {
  volatile char large[4096];
  large[0] = static_cast<char>(depth);
  if (depth > 0) deep(y, depth - 1);
  y[0] += static_cast<float>(large[0]);
}
__global__ void deep_kernel(float* y) { deep(y, 1000); }

}  // namespace

TEST_CASE("simulated device: the host may not touch its memory") {
  KernelRun run;
  const float* const x = run.upload(counted(32));
  CHECK(run.values(x, 32)[5] == 5);
  CHECK(contains(last_words([&] {
                   const volatile float value = x[5];
                   static_cast<void>(value);
                 }),
                 "the host touched device memory"));
  CHECK(last_words([&] { run.values(x, 32); }).empty());
}

TEST_CASE("simulated device: accesses outside of what was handed out name the kernel") {
  KernelRun run;
  const float* const x = run.upload(counted(32));
  float* const y = run.fresh(32);
  const auto words = [&](const float* from) {
    return last_words([&, from] {
      run.start(read_kernel, 1, 32, 0, from, y);
      run.device.synchronize();
    });
  };
  CHECK(words(x).empty());
  const std::string outside = "kernel read_kernel, block (0, 0, 0), thread (0, 0, 0): access outside of all memory";
  for (const float* const wrong : {x + (size_t{32} << 20) / sizeof(float),  // reserved, without memory
                                   reinterpret_cast<const float*>(4096)}) {
    const std::string text = words(wrong);
    INFO(text);
    CHECK(contains(text, outside));
  }
  // One element behind a tensor belongs to no tensor of the arena, be it the last one or not.
  if (!cudasim::sanitized) return;
  CHECK(contains(words(y + 1), "use-after-poison"));
  CHECK(contains(words(x + 1), "use-after-poison"));
}

TEST_CASE("simulated device: what is read behind a tensor's end is a NaN, not the next tensor") {
  if (cudasim::sanitized) SKIP_TEST("the address sanitizer ends the program first");
  KernelRun run;
  {
    const ArenaScope scope(run.arena);
    run.upload(counted(200));  // earlier contents do not stay
  }
  const float* const x = run.upload(counted(32));
  float* const y = run.upload(counted(32));
  CHECK(run.error(read_kernel, 32, 0, x + 1, y) == "");
  const std::vector<float> values = run.values(y, 32);
  CHECK(values[30] == 31);
  CHECK(std::isnan(values[31]));
}

TEST_CASE("simulated device: the address sanitizer finds what is one off in shared memory") {
  if (!cudasim::sanitized) SKIP_TEST("only the address sanitizer finds it");
  KernelRun run;
  float* const y = run.fresh(32);
  const auto words = [&](int index) {
    return last_words([&, index] {
      run.start(shared_overrun_kernel, 1, 32, 0, y, index);
      run.device.synchronize();
    });
  };
  CHECK(words(31).empty());
  CHECK(contains(words(32), "use-after-poison"));
  CHECK(contains(words(-1), "use-after-poison"));
}

TEST_CASE("simulated device: a thread that needs more stack than there is says so") {
  if (cudasim::sanitized) SKIP_TEST("the address sanitizer ends the program first");
  KernelRun run;
  float* const y = run.fresh(1);
  CHECK(contains(last_words([&] {
                   run.start(deep_kernel, 1, 1, 0, y);
                   run.device.synchronize();
                 }),
                 "deep_kernel, block (0, 0, 0), thread (0, 0, 0): its variables need more than the stack has"));
}

}  // namespace engine::test::test_faults
