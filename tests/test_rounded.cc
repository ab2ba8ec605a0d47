// A device's products read bf16 copies of a model's matrices. These follow every change of the values.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdio>
#include <cstring>

#include "tests/operation.h"
#include "tests/task_settings.h"
#include "training/loss_step.h"
#include "training/optimizer.h"

namespace engine::test::test_rounded {

namespace {

template <class T>
std::vector<T> on_host(Memory& memory, const Tensor& tensor) {
  std::vector<T> host(static_cast<size_t>(tensor.count()));
  memory.copy_out(host.data(), tensor.data, tensor.bytes());
  return host;
}

// Checks that every copy is that of its value, and returns how many there are.
int true_copies(const Parameters& parameters) {
  int copies = 0;
  for (const Parameter& p : parameters.all()) {
    if (!p.rounded()) continue;
    const std::vector<float> values = on_host<float>(parameters.memory(), p.value);
    const std::vector<bf16> rounded = on_host<bf16>(parameters.memory(), p.rounded());
    ++copies;
    size_t same = 0;
    while (same < values.size() && rounded[same].bits == bf16(values[same]).bits) ++same;
    CHECK_MESSAGE(same == values.size(), p.name, " differs from its copy at element ", same);
  }
  return copies;
}

constexpr const char* gpt = R"(task = "gpt"
[data]
train = ["tests/data/walk.txt"]
tokenizer = "characters"
block_size = 16
[model]
hidden_size = 20
num_layers = 1
num_heads = 2
max_positions = 16
dropout = 0.1
[training]
batch_size = 2
learning_rate = 0.01
scheduler = "constant"
max_grad_norm = 1
eval_every = 0
)";

}  // namespace

TEST_CASE("rounded copies: of the matrices that products read, on a device alone, and whoever writes a value") {
  for (const std::string& device : devices()) {
    const std::unique_ptr<Ops> ops = make_ops(device);
    Arena arena(ops->memory());
    Parameters parameters;
    Parameter& matrix = parameters.add("matrix", {5, 7}, Initial::normal(1));
    matrix.is_factor = true;
    parameters.add("bias", {7}, Initial::normal(1));
    parameters.add("table", {9, 4}, Initial::normal(1));
    parameters.allocate(ops->memory(), true);
    parameters.initialise(1);
    parameters.keep_rounded(*ops);
    const int expected = device != "cpu";
    CHECK(true_copies(parameters) == expected);
    CHECK(matrix.factor(DType::f32).data == matrix.value.data);
    CHECK((matrix.factor(DType::bf16).data == matrix.value.data) == !expected);
    parameters.initialise(2);
    CHECK(true_copies(parameters) == expected);
    const std::vector<float> some{1.001f, -2.003f, NAN};
    std::vector<char> bytes(1 + 3 * sizeof(float));  // numbers in a file are not aligned
    std::memcpy(bytes.data() + 1, some.data(), 3 * sizeof(float));
    parameters.write(matrix, 6, 3, bytes.data() + 1);
    CHECK(true_copies(parameters) == expected);
    CHECK(on_host<float>(ops->memory(), matrix.value)[7] == -2.003f);
    const Tensor other = arena.make(DType::f32, {5, 7});
    const std::vector<float> numbers(35, 0.3f);
    ops->memory().copy_in(other.data, numbers.data(), other.bytes());
    parameters.write(*ops, matrix, other);
    CHECK(true_copies(parameters) == expected);
    CHECK(on_host<float>(ops->memory(), matrix.value) == numbers);
  }
}

TEST_CASE("rounded copies: a training with them has the bits of one whose products round the values") {
  SKIP_WITHOUT_DEVICE();
  const auto trained = [](const std::string& device, DType copies_for) {
    TaskSettings settings(gpt, device);
    settings.machine.compute = DType::bf16;
    const auto task = settings.task();
    Optimizer optimizer(*settings.ops, task->parameters(), settings.config.training, copies_for);
    std::vector<float> results;
    for (int64_t step = 0; step < 3; ++step) {
      SequenceBatch batch;
      task->batch_of(step, batch);
      const ArenaScope scope(settings.arena);
      const Tensor totals = settings.arena.make_zeros(DType::f32, {3});
      Pass pass(Run{.ops = *settings.ops, .arena = settings.arena, .compute = DType::bf16}, {},
                {.is_active = true, .step = static_cast<uint32_t>(step)});
      task->loss().run(pass, batch, 0, batch.sequences(), 1.0f / static_cast<float>(batch.scored()), totals);
      optimizer.clip_and_measure_norm();
      optimizer.update(1e-2f, step + 1);
      results.push_back(on_host<float>(settings.ops->memory(), totals)[0]);
      results.push_back(optimizer.gradient_norm());
    }
    const int copies = true_copies(task->parameters());
    CHECK((copies > 0) == (copies_for == DType::bf16));
    for (const Parameter& p : task->parameters().all()) {
      const std::vector<float> values = on_host<float>(settings.ops->memory(), p.value);
      results.insert(results.end(), values.begin(), values.end());
    }
    return results;
  };
  for (const std::string& device : other_devices()) CHECK(trained(device, DType::bf16) == trained(device, DType::f32));
}

TEST_CASE("rounded copies: a training that goes on from its state has the bits of one that was not interrupted") {
  SKIP_WITHOUT_DEVICE();
  for (const std::string& device : other_devices()) {
    TaskSettings settings(gpt, device);
    settings.machine.compute = DType::bf16;
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> quiet(std::fopen("/dev/null", "w"), std::fclose);
    const auto trained = [&](const char* name, int64_t steps) {
      settings.config.name = name;
      settings.config.training.max_steps = steps;
      const auto task = settings.task();
      CHECK(train_task(settings.config, settings.options, *task, settings.machine, quiet.get()).exit_code() == 0);
      CHECK(true_copies(task->parameters()) == 5);
      CHECK(!task->parameters().at("embedding.positions").rounded());
      std::vector<float> all;
      for (const Parameter& p : task->parameters().all()) {
        const std::vector<float> values = on_host<float>(settings.ops->memory(), p.value);
        all.insert(all.end(), values.begin(), values.end());
      }
      return all;
    };
    const std::vector<float> whole = trained("whole", 3);
    CHECK(trained("halves", 2) != whole);
    CHECK(trained("halves", 3) == whole);
  }
}

}  // namespace engine::test::test_rounded
