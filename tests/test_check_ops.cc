#include "kernels/observe/check_ops.h"

#include <algorithm>
#include <array>

#include "kernels/backend/backend.h"
#define ENGINE_ISA generic
#include "kernels/cpu/cpu_ops.h"
#include "kernels/observe/record_ops.h"
#include "kernels/observe/time_ops.h"
#include "models/huggingface.h"
#include "tests/operation.h"
#include "training/training_step.h"

namespace engine::test::test_check_ops {

namespace {

Tensor numbers(Arena& arena, DType dtype, Shape shape, int seed) {
  const Tensor tensor = arena.make(dtype, shape);
  Random random(static_cast<uint64_t>(seed), 0);
  for (int64_t i = 0; i < shape.count(); ++i) {
    if (dtype == DType::bf16)
      tensor.as<bf16>()[i] = bf16(random.normal());
    else
      tensor.as<float>()[i] = random.normal();
  }
  return tensor;
}

struct TwoBackends {
  std::unique_ptr<Ops> ops = make_check_ops(make_cpu_ops(cpu_instruction_set()), make_cpu_ops("generic"));
  Arena arena{host_memory()};
};

// Returns whether a model that is only read has all of its values after its weights were packed.
bool keeps_values(Ops& ops) {
  const auto model = load_model("tests/golden/gpt2/model", host_memory(), /*with_gradients=*/false,
                                {.matrices = DType::bf16});
  model->parameters().pack(ops, DType::bf16);
  const auto& all = model->parameters().all();
  return std::all_of(all.begin(), all.end(), [](const Parameter& p) { return p.value.data != nullptr; });
}

// A step whose loss asks a model that is only read, as distillation does.
class AskingLoss final : public BatchLoss {
 public:
  void run(Pass& pass, const SequenceBatch&, int64_t, int64_t, float, const Tensor&) override {
    ++runs;
    keeps = keeps_values(pass.ops);
  }
  int runs = 0;
  bool keeps = false;
};

class SilentObserver final : public CallObserver {
 public:
  bool is_on() const override { return false; }
  size_t place_of(const Tensor&) const override { return RecordedCall::nowhere; }
  void before(const RecordedCall&) override {}
  void after() override {}
};

}  // namespace

TEST_CASE("device check: two backends that agree go through, and the results are there") {
  TwoBackends check;
  const Tensor a = numbers(check.arena, DType::f32, {5, 70}, 1), b = numbers(check.arena, DType::f32, {9, 70}, 2);
  const Tensor c = check.arena.make_zeros(DType::f32, {5, 9}), expected = check.arena.make_zeros(DType::f32, {5, 9});
  for (DType compute : {DType::f32, DType::bf16}) {
    check.ops->matmul({.a = a, .b = b, .c = c, .transpose_b = true, .compute = compute});
    make_cpu_ops()->matmul({.a = a, .b = b, .c = expected, .transpose_b = true, .compute = compute});
    for (int64_t i = 0; i < c.count(); ++i) CHECK(c.as<float>()[i] == expected.as<float>()[i]);
  }
  // Results may be in place, or a part of a matrix.
  check.ops->activation_forward({.x = c, .y = c, .activation = Activation::gelu});
  const Tensor wide = numbers(check.arena, DType::bf16, {6, 24}, 3), rows = check.arena.make(DType::i32, {2});
  rows.as<int32_t>()[0] = 4;
  rows.as<int32_t>()[1] = 1;
  check.ops->scatter_rows({.x = Columns(wide.row_range(0, 2), 8, 8), .index = rows, .y = Columns(wide, 0, 8)});
  CHECK(static_cast<float>(wide.as<bf16>()[4 * 24]) == static_cast<float>(wide.as<bf16>()[8]));
  // AdamW takes many tensors.
  const Tensor value = numbers(check.arena, DType::f32, {33}, 4), gradient = numbers(check.arena, DType::f32, {33}, 5);
  const Tensor m = check.arena.make_zeros(DType::f32, {33}), v = check.arena.make_zeros(DType::f32, {33});
  const Tensor norm = check.arena.make_zeros(DType::f32, {1});
  const std::array gradients{gradient};
  check.ops->sum_of_squares({.tensors = gradients, .result = norm});
  const std::array updated{AdamWTensor{.value = value, .gradient = gradient, .m = m, .v = v}};
  const float before = value.as<float>()[0];
  check.ops->adamw({.tensors = updated, .learning_rate = 0.1f, .beta1 = 0.9f, .beta2 = 0.99f, .epsilon = 1e-8f,
                    .weight_decay = 0, .step = 1, .norm_squared = norm, .max_norm = 1});
  CHECK(value.as<float>()[0] != before);
  CHECK(gradient.as<float>()[0] == 0);
}

TEST_CASE("device check: a difference names the operation, the argument and the element") {
  class Wrong final : public generic::CpuOps {
   public:
    Wrong() : CpuOps(nullptr) {}
    void gather_rows(const RowsArgs& args) override {
      generic::CpuOps::gather_rows(args);
      args.y.matrix.as<float>()[args.y.matrix.count() - 1] += wrong_by;
    }
    float wrong_by = 0;
  };
  auto second = std::make_unique<Wrong>();
  Wrong& wrong = *second;
  const auto ops = make_check_ops(make_cpu_ops(), std::move(second));
  Arena arena{host_memory()};
  const Tensor x = numbers(arena, DType::f32, {4, 3}, 1), y = arena.make(DType::f32, {1, 3});
  const Tensor index = arena.make_zeros(DType::i32, {1});
  std::fill_n(x.as<float>(), 3, 2.0f);
  ops->gather_rows({.x = x, .index = index, .y = y});
  wrong.wrong_by = 1e-6f;  // another order of sums may cost as much
  ops->gather_rows({.x = x, .index = index, .y = y});
  wrong.wrong_by = 0.5f;
  CHECK_THROWS_WITH_AS(ops->gather_rows({.x = x, .index = index, .y = y}),
                       "device check: gather_rows: y [1, 3] of f32 differs at element 2: 2 and 2.5, by 0.25 of the "
                       "largest value, allowed 0.000244141", Error);
  wrong.wrong_by = NAN;
  CHECK_THROWS_AS(ops->gather_rows({.x = x, .index = index, .y = y}), Error);
}

TEST_CASE("device check: weights stay beside their packed copies, whatever is around the two backends") {
  CHECK_FALSE(keeps_values(*make_cpu_ops()));
  TwoBackends check;
  CHECK(keeps_values(*check.ops));
  SilentObserver silent;
  CHECK(keeps_values(*make_record_ops(*check.ops, silent)));
  // A step is planned before it runs.
  Communicator alone;
  Machine machine{.ops = *check.ops, .arena = check.arena, .compute = DType::bf16, .communicator = alone};
  Parameters trained;
  trained.add("weight", {4, 4}, Initial::zeros());
  trained.allocate(host_memory(), /*with_gradients=*/true);
  const TrainingConfig config;
  TrainingStep step(machine, trained, config, 1);
  SequenceBatch batch;
  batch.tokens = {1, 2}, batch.targets.labels = {2, 1};
  batch.end_sequence();
  AskingLoss loss;
  step.reserve(loss, batch);
  CHECK(loss.runs == 1);
  CHECK(loss.keeps);
  CHECK(keeps_values(*make_time_ops(std::move(check.ops), make_host_stopwatch())));
}

}  // namespace engine::test::test_check_ops
