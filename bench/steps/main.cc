// Whole training steps (forward, backward, clipping off, AdamW) and greedy generation, for bench/compare.py: prints one
// JSON line when ready; then, for each number n read from standard input, does n steps and prints
// {"seconds": [...], "tokens": t, "loss": l, "peak_mb": m}. Random tokens, no dropout, every token scored.
#include <CLI/CLI.hpp>
#include <chrono>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "core/parallel.h"
#include "kernels/backend.h"
#include "kernels/count_ops.h"
#include "models/generation.h"
#include "training/optimizer.h"

namespace engine {
namespace {

struct Setting {
  std::string model = "gpt2", work = "train", precision = "auto", device = "cpu";
  int batch = 4, length = 256, prompt = 32, fresh = 64, threads = 0;
  bool operations = false;
};

ModelConfig config_of(const std::string& model) {
  ModelConfig config;
  if (model == "gpt2") {
    config.hidden_size = 768, config.num_layers = 12, config.num_heads = 12;
    config.vocab_size = 50257, config.max_positions = 1024;
  } else {
    config.hidden_size = 256, config.num_layers = 4, config.num_heads = 8;
    config.vocab_size = 64, config.max_positions = 512;
  }
  return config;
}

std::vector<int32_t> random_tokens(int64_t count, int64_t vocabulary, Random& random) {
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  for (int32_t& token : tokens) token = static_cast<int32_t>(random.below(static_cast<uint32_t>(vocabulary)));
  return tokens;
}

// A training step over the same batch each time.
class Training {
 public:
  Training(Ops& ops, CausalModel& model, DType compute, const Setting& setting)
      : ops_(ops),
        model_(model),
        compute_(compute),
        optimizer_(ops, model.parameters(), config_),
        saved_(model.make_saved()) {
    Random random(7, 0);
    count_ = int64_t{setting.batch} * setting.length;
    std::vector<int32_t> positions, rows, offsets{0};
    for (int s = 0; s < setting.batch; ++s) {
      for (int i = 0; i < setting.length; ++i) {
        positions.push_back(i);
        rows.push_back(static_cast<int32_t>(rows.size()));
      }
      offsets.push_back(static_cast<int32_t>(rows.size()));
    }
    const int64_t vocabulary = model.config().vocab_size;
    loss_ = {.tokens = {upload(random_tokens(count_, vocabulary, random)), upload(positions)},
             .scored_rows = upload(rows),
             .labels = upload(random_tokens(count_, vocabulary, random)),
             .totals = arena_.make_zeros(DType::f32, {3}),
             .gradient_scale = 1 / static_cast<float>(count_)};
    segments_ = Segments::packed(upload(offsets), setting.length);
  }

  float step() {
    ops_.memory().zero(loss_.totals.data, loss_.totals.bytes());
    const ArenaScope scope(arena_);
    Pass pass{.ops = ops_, .arena = arena_, .compute = compute_, .segments = segments_, .training = true};
    model_loss(pass, model_, loss_, *saved_);
    optimizer_.update(1e-4f, ++steps_);
    float loss = 0;  // read here: until then a device has only been told what to do
    ops_.memory().copy_out(&loss, loss_.totals.data, sizeof loss);
    return loss / static_cast<float>(count_);
  }

 private:
  Tensor upload(const std::vector<int32_t>& values) {
    const Tensor tensor = arena_.make(DType::i32, {static_cast<int64_t>(values.size())});
    ops_.memory().copy_in(tensor.data, values.data(), tensor.bytes());
    return tensor;
  }

  Ops& ops_;
  CausalModel& model_;
  DType compute_;
  TrainingConfig config_{.weight_decay = 0.1f, .adam_beta2 = 0.95f, .max_grad_norm = 0};
  Optimizer optimizer_;
  std::unique_ptr<CausalModel::Saved> saved_;
  Arena arena_{ops_.memory()};
  LossArgs loss_;
  Segments segments_;
  int64_t count_ = 0, steps_ = 0;
};

// The most memory this program had, in MiB. (getrusage counts that of the program which started this one, too.)
int64_t peak_mib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return std::stoll(line.substr(6)) / 1024;
  return 0;
}

template <class Step>
void serve(int64_t tokens, const Step& step) {
  for (int i = 0; i < 2; ++i) step();
  std::cout << "{\"ready\": true}" << std::endl;
  for (int count; std::cin >> count;) {
    std::cout << "{\"seconds\": [";
    float loss = 0;
    for (int i = 0; i < count; ++i) {
      const auto begin = std::chrono::steady_clock::now();
      loss = step();
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
      std::cout << (i ? ", " : "") << seconds.count();
    }
    std::cout << "], \"tokens\": " << tokens << ", \"loss\": " << loss << ", \"peak_mb\": " << peak_mib() << "}"
              << std::endl;
  }
}

// The operations of one step, a JSON line each, instead of their time.
template <class Step>
void list_operations(const std::vector<OperationCount>& counts, const Step& step) {
  step();
  for (const OperationCount& count : counts)
    std::cout << nlohmann::json{{"operation", count.name}, {"shapes", count.shapes},
                                {"compute", name_of(count.compute)}, {"calls", count.calls},
                                {"flops", count.flops}, {"bytes", count.bytes}}.dump() << "\n";
}

void run(const Setting& setting) {
  set_threads(setting.threads);
  std::vector<OperationCount> counts;
  const std::unique_ptr<Ops> ops = setting.operations ? make_count_ops(counts) : make_ops(setting.device);
  const DType compute = compute_precision(setting.precision, setting.device);
  const std::unique_ptr<CausalModel> model = make_causal_model(config_of(setting.model));
  const bool trains = setting.work == "train";
  model->parameters().allocate(ops->memory(), trains);
  model->parameters().initialise(1);
  if (trains) {
    Training training(*ops, *model, compute, setting);
    if (setting.operations) return list_operations(counts, [&] { training.step(); });
    serve(int64_t{setting.batch} * setting.length, [&] { return training.step(); });
    return;
  }
  Random random(7, 0);
  std::vector<std::vector<int32_t>> prompts;
  for (int s = 0; s < setting.batch; ++s)
    prompts.push_back(random_tokens(setting.prompt, model->config().vocab_size, random));
  Generator generator(*ops, *model, compute, setting.batch);
  serve(int64_t{setting.batch} * setting.fresh, [&] {
    generator.generate(prompts, {.max_new_tokens = setting.fresh});
    return 0.0f;
  });
}

}  // namespace
}  // namespace engine

int main(int argc, char** argv) {
  engine::Setting setting;
  CLI::App app("Whole steps of the engine, for bench/compare.py");
  app.add_option("--model", setting.model)->check(CLI::IsMember({"gpt2", "decoder"}));
  app.add_option("--work", setting.work)->check(CLI::IsMember({"train", "generate"}));
  app.add_option("--precision", setting.precision)->check(CLI::IsMember({"auto", "f32", "bf16"}));
  app.add_option("--batch", setting.batch);
  app.add_option("--length", setting.length);
  app.add_option("--prompt", setting.prompt);
  app.add_option("--new", setting.fresh);
  app.add_option("--threads", setting.threads);
  app.add_option("--device", setting.device)->check(CLI::IsMember({"cpu", "cuda"}));
  app.add_flag("--operations", setting.operations, "lists what one training step computes and moves instead");
  CLI11_PARSE(app, argc, argv);
  engine::run(setting);
}
