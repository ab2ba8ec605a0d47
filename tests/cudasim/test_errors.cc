// Errors of a device name their operation: memory that is not there, kernels that fail after their call has returned,
// refusals of cuBLASLt and of the driver, wrong indices.
#include <algorithm>
#include <cstdio>

#include "kernels/backend/cuda_backend.h"
#include "kernels/cuda/block.h"
#include "tests/cudasim/kernel_run.h"
#include "tests/task_settings.h"
#include "tests/variable.h"
#include "training/optimizer.h"

namespace engine::test::test_errors {

using namespace engine::cuda;

namespace {

__global__ void good_kernel(float* y) { y[threadIdx.x] = 1; }
__global__ void failing_kernel(float* y) {
  if (threadIdx.x != 5) sync_block();
  y[threadIdx.x] = 1;
}

template <class Work>
std::string error_of(const Work& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// Starts a kernel as an operation does.
void operate(KernelRun& run, const char* name, void (*kernel)(float*), const Tensor& y) {
  const Operation operation(name, {y});
  run.start(kernel, 1, 32, 0, y.as<float>());
}

}  // namespace

TEST_CASE("errors of a device: scratch that does not fit names its operation, what is free and what to lower") {
  const Variable little("CUDASIM_MEMORY", "300");
  const std::unique_ptr<Ops> ops = make_cuda_ops();
  Arena arena(ops->memory());
  const Tensor a = arena.make(DType::f32, {5000, 1000}), b = arena.make(DType::f32, {1000, 5000}),
               c = arena.make(DType::f32, {5000, 5000});
  arena.make(DType::u8, {(int64_t{296} << 20) - static_cast<int64_t>(arena.used())});
  const std::string error = error_of([&] { ops->matmul({.a = a, .b = b, .c = c, .compute = DType::bf16}); });
  CAPTURE(error);
  CHECK(contains(error, "out of memory: a tensor [5000, 1000] of bf16 on simulated device, for matmul of [5000, 1000] "
                        "f32, [1000, 5000] f32, [5000, 5000] f32 needs 9 MiB, 3 MiB of 300 MiB are free: in training "
                        "lower training.micro_batch_size"));
}

TEST_CASE("errors of a device: a kernel that failed is told with what was started since the device was waited for") {
  KernelRun run;
  const Tensor y = run.arena.make(DType::f32, {32});
  operate(run, "before", good_kernel, y);
  run.device.synchronize();
  operate(run, "first", good_kernel, y);
  operate(run, "second", failing_kernel, y);
  operate(run, "third", good_kernel, y);
  const std::string error = error_of([&] { run.values(y.as<float>(), 32); });
  CAPTURE(error);
  CHECK(contains(error, "waiting for the device: kernel failing_kernel"));
  CHECK(contains(error, "(cudaErrorLaunchFailure), on simulated device; it is one of the operations started since the "
                        "device was last waited for: first of [32] f32; second of [32] f32; third of [32] f32. With "
                        "--cuda.synchronous true"));
  CHECK(!contains(error, "before"));
  for (int i = 0; i < 20; ++i) operate(run, i == 5 ? "early" : "late", i == 5 ? failing_kernel : good_kernel, y);
  const std::string many = error_of([&] { run.device.synchronize(); });
  CHECK(contains(many, "late of [32] f32; and "));
  run.device.synchronize();
  CHECK(!contains(error_of([] { check(cudaErrorInvalidValue, "a call"); }), "started"));
}

TEST_CASE("errors of a device: where every start is waited for, the operation that failed is the one that is named") {
  KernelRun run;
  const Tensor y = run.arena.make(DType::f32, {32});
  set_synchronous(true);
  operate(run, "first", good_kernel, y);
  const std::string error = error_of([&] { operate(run, "second", failing_kernel, y); });
  set_synchronous(false);
  CAPTURE(error);
  CHECK(error.starts_with("second of [32] f32: kernel failing_kernel"));
  CHECK(error.ends_with("(cudaErrorLaunchFailure), on simulated device"));
}

TEST_CASE("errors of a device: a backend that is synchronous captures nothing, and gives the same results") {
  std::vector<float> losses[2];
  for (const bool synchronous : {false, true}) {
    const std::unique_ptr<Ops> ops = make_cuda_ops({.synchronous = synchronous});
    Arena arena(ops->memory(), size_t{1} << 20);
    const Tensor x = arena.make_zeros(DType::f32, {3, 4}), y = arena.make(DType::f32, {3, 4});
    std::vector<float> host(12, 2.5f);
    arena.memory().copy_in(x.data, host.data(), x.bytes());
    const auto work = [&] {
      ops->activation_forward({.x = x, .y = y, .activation = Activation::gelu});
      if (synchronous) arena.memory().copy_out(host.data(), y.data, y.bytes());  // not possible in a capture
    };
    for (int time = 0; time < 3; ++time) ops->run_captured(1, work);
    arena.memory().copy_out(host.data(), y.data, y.bytes());
    losses[synchronous] = host;
  }
  CHECK(losses[0] == losses[1]);
  CHECK(losses[0][0] > 2.4f);
}

TEST_CASE("errors of a device: cuBLASLt's name the operation, the product and the device") {
  const Variable fails("CUDASIM_CUBLASLT", "fails");
  const std::unique_ptr<Ops> ops = make_cuda_ops({.matmul = "cublaslt"});
  Arena arena(ops->memory(), size_t{1} << 20);
  const Tensor a = arena.make_zeros(DType::f32, {4, 8}), b = arena.make_zeros(DType::f32, {8, 5}),
               c = arena.make(DType::f32, {4, 5});
  CHECK(error_of([&] { ops->matmul({.a = a, .b = b, .c = c, .compute = DType::bf16}); }) ==
        "matmul of [4, 8] f32, [8, 5] f32, [4, 5] f32: cuBLASLt: the product failed: CUBLAS_STATUS_EXECUTION_FAILED "
        "(13), M 4 N 5 K 8 in bf16, on simulated device");
}

TEST_CASE("errors of a device: the driver's name the call, the bytes, the device and the operation") {
  Device device;
  for (const char* const call : {"cuMemCreate", "cuMemMap"}) {
    Arena arena(device.memory(), size_t{1} << 20);
    const Variable refuses("CUDASIM_DRIVER_REFUSES", call);
    const Operation operation("dropout", {});
    CHECK(error_of([&] { arena.make(DType::f32, {16}); }) ==
          std::string(call) + " of 1048576 bytes: CUDA_ERROR_NOT_PERMITTED (800), on simulated device, for dropout");
  }
}

TEST_CASE("errors of a device: of many wrong indices one is told, whole, and the next step's is told again") {
  const std::unique_ptr<Ops> ops = make_cuda_ops({});
  Arena arena(ops->memory(), size_t{1} << 24);
  constexpr int count = 5000;
  std::vector<int32_t> tokens(count);
  for (int i = 0; i < count; ++i) tokens[static_cast<size_t>(i)] = 1000 + i;
  const Tensor index = arena.make(DType::i32, {count}), table = arena.make_zeros(DType::f32, {7, 4}),
               y = arena.make(DType::f32, {count, 4});
  const auto look_up = [&] {
    arena.memory().copy_in(index.data, tokens.data(), index.bytes());
    ops->embedding_forward({.tokens = index, .token_table = table, .y = y});
    std::vector<float> results(4 * count);
    return error_of([&] { arena.memory().copy_out(results.data(), y.data, y.bytes()); });
  };
  for (int time = 0; time < 2; ++time) {
    const std::string error = look_up();
    CAPTURE(error);
    int place = -1, value = -1;
    REQUIRE(std::sscanf(error.c_str(), "embedding_forward: tokens[%d] is %d, not in 0 ... 6", &place, &value) == 2);
    CHECK(value == 1000 + place);
    std::fill(tokens.begin(), tokens.end(), 3);
    CHECK(look_up() == "");
    for (int i = 0; i < count; ++i) tokens[static_cast<size_t>(i)] = 1000 + i;
  }
}

TEST_CASE("errors of a device: a step with a wrong index leaves parameters and moments as they were") {
  TaskSettings settings(R"(task = "gpt"
[data]
train = ["tests/data/walk.txt"]
tokenizer = "characters"
block_size = 16
[model]
hidden_size = 16
num_layers = 1
num_heads = 2
max_positions = 16
[training]
batch_size = 2
max_grad_norm = 1
)",
                        "sim");
  const auto task = settings.task();
  Optimizer optimizer(*settings.ops, task->parameters(), settings.config.training, DType::f32);
  const auto all = [&] {
    std::vector<float> numbers;
    for (const AdamWTensor& tensor : optimizer.tensors())
      for (const Tensor& of : {tensor.value, tensor.m, tensor.v}) {
        numbers.resize(numbers.size() + static_cast<size_t>(of.count()));
        settings.ops->memory().copy_out(&*(numbers.end() - of.count()), of.data, of.bytes());
      }
    return numbers;
  };
  const auto step = [&](int64_t number, int32_t label) {
    SequenceBatch batch;
    task->batch_of(number, batch);
    if (label >= 0) batch.targets.labels[3] = label;
    const ArenaScope scope(settings.arena);
    const Tensor totals = settings.arena.make_zeros(DType::f32, {3});
    Pass pass(Run{.ops = *settings.ops, .arena = settings.arena, .compute = DType::f32}, {}, {.is_active = true});
    task->loss().run(pass, batch, 0, batch.sequences(), 1.0f / static_cast<float>(batch.scored()), totals);
    optimizer.measure_and_update(1e-2f, number + 1, {totals.data, DType::f32, {1}});
    std::array<float, 3> sums{};
    settings.arena.memory().copy_out(sums.data(), totals.data, sizeof sums);
  };
  std::vector<float> before = all();
  for (int64_t number = 0; number < 4; ++number) {  // first plain, then captured
    CAPTURE(number);
    // Loss and gradients are finite all the same, since the row has none.
    CHECK(contains(error_of([&] { step(number, 100000); }), "cross_entropy: labels[3] is 100000, neither in 0 ... "));
    CHECK(all() == before);
    step(number, -1);
    const std::vector<float> after = all();
    CHECK(after != before);
    CHECK(std::none_of(after.begin(), after.end(), [](float x) { return std::isnan(x); }));
    before = after;
  }
}

}  // namespace engine::test::test_errors
