// GPT-2 against transformers (golden/make_gpt2.py), and what every decoder owes: packing, recomputation and the number
// of threads change nothing.
#include <cstring>
#include <filesystem>
#include <map>

#include "core/safetensors.h"
#include "models/huggingface.h"
#include "tests/causal_run.h"
#include "tests/invariance.h"
#include "tests/temporary.h"

namespace engine::test {

namespace fs = std::filesystem;

namespace {

const fs::path golden_folder = "tests/golden/gpt2";

struct Golden {
  Safetensors values = Safetensors::open(golden_folder / "values.safetensors");

  std::vector<double> numbers(const std::string& name) const {
    const std::vector<float> floats = values.floats(name);
    return {floats.begin(), floats.end()};
  }
  double number(const std::string& name) const { return numbers(name).at(0); }
  std::vector<int> integers(const std::string& name) const {
    const Safetensors::Entry& entry = values.at(name);
    std::vector<int> result(static_cast<size_t>(entry.count()));
    REQUIRE(entry.bytes == result.size() * sizeof(int));
    std::memcpy(result.data(), entry.data, entry.bytes);
    return result;
  }
  Batch batch() const { return {integers("tokens"), integers("offsets")}; }

  // What the arithmetic of a precision loses is measured on transformers' own run in that precision. Ours rounds in
  // other places and adds in another order: twice as much in bf16, where the largest of few roundings rules; four times
  // in f32 and never less than 32 roundings, as errors there are random sums.
  double tolerance(DType compute, const std::string& of) const {
    if (compute == DType::bf16) return 2 * number("error.bf16." + of);
    return std::max(4 * number("error.f32." + of), 32 * epsilon_of(DType::f32));
  }
};

// Values of a golden model folder, by our parameters' names.
std::map<std::string, std::vector<double>> parameters_in(Bench& bench, const std::string& folder) {
  const auto model = load_causal_model(golden_folder / folder, bench.arena.memory(), false);
  std::map<std::string, std::vector<double>> result;
  for (const Parameter& p : model->parameters().all()) result[p.name] = bench.values(p.value);
  return result;
}

double mean(const std::vector<double>& values) {
  double sum = 0;
  for (double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

void adamw_step(Bench& bench, const Golden& golden, const std::vector<AdamWTensor>& tensors, int64_t step) {
  const ArenaScope scope(bench.arena);
  const std::vector<double> settings = golden.numbers("adamw");
  const Tensor norm_squared = bench.unset(DType::f32, {1});
  std::vector<Tensor> gradients;
  for (const AdamWTensor& tensor : tensors) gradients.push_back(tensor.gradient);
  bench.ops.sum_of_squares({.tensors = gradients, .result = norm_squared});
  bench.ops.adamw({.tensors = tensors,
                   .learning_rate = static_cast<float>(settings.at(0)),
                   .beta1 = static_cast<float>(settings.at(1)),
                   .beta2 = static_cast<float>(settings.at(2)),
                   .epsilon = static_cast<float>(settings.at(3)),
                   .weight_decay = static_cast<float>(settings.at(4)),
                   .step = step,
                   .norm_squared = norm_squared,
                   .max_norm = static_cast<float>(settings.at(5))});
}

}  // namespace

TEST_CASE("gpt2: logits, loss, every gradient and three AdamW steps are those of transformers") {
  on_every_backend([](Bench& bench) {
    const Golden golden;
    const Batch batch = golden.batch();
    const auto model = load_causal_model(golden_folder / "model", bench.arena.memory(), true);
    const CausalRun run{bench, *model};
    const std::vector<double> logits = golden.numbers("logits");
    const double logits_tolerance = golden.tolerance(bench.compute, "logits");
    CHECK_CLOSE(run.logits(batch), logits, logits_tolerance);

    const RunOptions options{.gradient_scale = 1.0f / static_cast<float>(batch.scored())};
    const double loss = mean(run.losses(batch, options)), expected_loss = golden.number("loss");
    // A loss moves by at most twice the largest change of a logit.
    double largest = 0;
    for (double logit : logits) largest = std::max(largest, std::abs(logit));
    INFO("loss ", loss, ", by transformers ", expected_loss);
    CHECK(std::abs(loss - expected_loss) <= 2 * logits_tolerance * largest);

    const auto expected_gradients = parameters_in(bench, "gradients");
    CHECK(expected_gradients.size() == model->parameters().all().size());
    for (const Parameter& p : model->parameters().all()) {
      CAPTURE(p.name);
      const double tolerance = golden.tolerance(bench.compute, "gradients");
      CHECK_CLOSE(bench.values(p.gradient), expected_gradients.at(p.name), tolerance);
    }

    std::vector<AdamWTensor> tensors;
    for (const Parameter& p : model->parameters().all())
      tensors.push_back({p.value, p.gradient, bench.zeros(p.shape), bench.zeros(p.shape), 1, p.decays()});
    adamw_step(bench, golden, tensors, 1);
    for (int64_t step = 2; step <= 3; ++step) {
      run.losses(batch, options);
      adamw_step(bench, golden, tensors, step);
    }
    const auto before = parameters_in(bench, "model");
    const auto expected = parameters_in(bench, "after");
    for (const Parameter& p : model->parameters().all()) {
      CAPTURE(p.name);
      std::vector<double> moved = bench.values(p.value), expected_moved = expected.at(p.name);
      for (size_t i = 0; i < moved.size(); ++i) {
        moved[i] -= before.at(p.name)[i];
        expected_moved[i] -= before.at(p.name)[i];
      }
      CHECK_CLOSE(moved, expected_moved, golden.tolerance(bench.compute, "moved"));
    }
  });
}

TEST_CASE("gpt2: other activations") {
  on_every_backend([](Bench& bench) {
    const Golden golden;
    for (const std::string activation : {"gelu", "relu"}) {
      CAPTURE(activation);
      const TemporaryFolder folder;
      fs::copy_file(golden_folder / "model" / "model.safetensors", folder.path() / "model.safetensors");
      std::string config = read_text(golden_folder / "model" / "config.json");
      const size_t place = config.find("gelu_new");
      REQUIRE(place != std::string::npos);
      write_file(folder.path() / "config.json", config.replace(place, 8, activation));
      const auto model = load_causal_model(folder.path(), bench.arena.memory(), false);
      CHECK_CLOSE(CausalRun(bench, *model).logits(golden.batch()), golden.numbers("logits_" + activation),
                  golden.tolerance(bench.compute, "logits"));
    }
  });
}

TEST_CASE("gpt2: sequences packed into one row give the same as one at a time") {
  on_every_backend([](Bench& bench) {
    const Golden golden;
    const Batch batch = golden.batch();
    const auto model = load_causal_model(golden_folder / "model", bench.arena.memory(), true);
    const CausalRun run{bench, *model};
    for (const bool training : {false, true}) {
      CAPTURE(training);
      run.zero_gradients();
      const std::vector<double> losses = run.losses(batch, {.training = training});
      const std::vector<double> gradients = run.all(&Parameter::gradient);
      run.zero_gradients();
      std::vector<double> losses_apart, logits_apart;
      for (size_t s = 0; s < 2; ++s) {
        append(losses_apart,
               run.losses(batch.sequence(s), {.training = training, .first_row = batch.offsets[s]}));
        append(logits_apart, run.logits(batch.sequence(s)));
      }
      CHECK_CLOSE(losses_apart, losses, golden.tolerance(bench.compute, "logits"));
      CHECK_CLOSE(logits_apart, run.logits(batch), golden.tolerance(bench.compute, "logits"));
      CHECK_CLOSE(run.all(&Parameter::gradient), gradients, golden.tolerance(bench.compute, "gradients"));
    }
  });
}

TEST_CASE("gpt2: recomputation gives the same bits, with dropout too") {
  on_every_backend([](Bench& bench) {
    const Golden golden;
    const auto model = load_causal_model(golden_folder / "model", bench.arena.memory(), true);
    const CausalRun run{bench, *model};
    for (const bool training : {false, true}) {
      CAPTURE(training);
      run.zero_gradients();
      const std::vector<double> losses = run.losses(golden.batch(), {.training = training});
      const std::vector<double> gradients = run.all(&Parameter::gradient);
      run.zero_gradients();
      CHECK(same_bits(run.losses(golden.batch(), {.recompute = true, .training = training}), losses));
      CHECK(same_bits(run.all(&Parameter::gradient), gradients));
    }
    CHECK(!same_bits(run.losses(golden.batch(), {.training = true}), run.losses(golden.batch())));
  });
}

TEST_CASE("gpt2: the same bits at any number of threads") {
  on_every_backend([](Bench& bench) {
    const Golden golden;
    const auto model = load_causal_model(golden_folder / "model", bench.arena.memory(), true);
    const CausalRun run{bench, *model};
    check_same_at_any_thread_count([&] {
      run.zero_gradients();
      std::vector<double> results = run.losses(golden.batch(), {.training = true});
      append(results, run.all(&Parameter::gradient));
      append(results, run.logits(golden.batch()));
      return results;
    });
  });
}

TEST_CASE("gpt2: gradients are derivatives of the loss, by finite differences, without and with dropout") {
  on_every_backend([](Bench& bench) {
    if (bench.compute != DType::f32) return;  // rounding to bf16 has no derivative
    const Golden golden;
    const Batch batch = golden.batch();
    const auto model = load_causal_model(golden_folder / "model", bench.arena.memory(), true);
    const CausalRun run{bench, *model};
    Memory& memory = bench.arena.memory();
    for (const bool training : {false, true}) {
      CAPTURE(training);
      run.zero_gradients();
      const std::vector<double> losses = run.losses(batch, {.training = training});
      const double loss = mean(losses) * batch.scored();
      for (const Parameter& p : model->parameters().all()) {
        CAPTURE(p.name);
        const std::vector<double> values = bench.values(p.value), gradient = bench.values(p.gradient);
        // A direction over some elements: of a parameter's thousands a direction over all would drown each.
        std::vector<std::pair<size_t, double>> direction;
        double slope = 0, size = 0;
        for (int i = 0; i < 16; ++i) {
          const size_t element = bench.random.below(static_cast<uint32_t>(values.size()));
          direction.emplace_back(element, static_cast<double>(bench.random.normal()));
          slope += gradient[element] * direction.back().second;
          size += std::abs(gradient[element] * direction.back().second);
        }
        const auto difference = [&](float step) {
          double ends[2], signs[2] = {1, -1};
          for (int end = 0; end < 2; ++end) {
            std::vector<float> moved(values.begin(), values.end());
            for (const auto& [element, by] : direction)
              moved[element] += static_cast<float>(signs[end] * by) * step;
            memory.copy_in(p.value.data, moved.data(), p.value.bytes());
            ends[end] = mean(run.losses(batch, {.training = training, .gradients = false})) * batch.scored();
          }
          return (ends[0] - ends[1]) / (2 * static_cast<double>(step));
        };
        // Of two central differences the part of order step^2 cancels; what is left is far less than their difference.
        // Rounding moves a loss by some units of its last place.
        const float step = 0.01f;
        const double fine = difference(step), coarse = difference(2 * step);
        const std::vector<float> restored(values.begin(), values.end());
        memory.copy_in(p.value.data, restored.data(), p.value.bytes());
        const double allowed = 0.5 * std::abs(fine - coarse) +
                               8 * epsilon_of(DType::f32) * loss / static_cast<double>(step);
        INFO("slope ", slope, ", by differences ", (4 * fine - coarse) / 3, ", allowed ", allowed, " of ", size);
        CHECK(std::abs((4 * fine - coarse) / 3 - slope) <= allowed);
        CHECK(allowed <= 0.02 * size);
      }
    }
  });
}

TEST_CASE("gpt2: saved and loaded again it has the same bits; in half precision the rounded ones") {
  on_every_backend([](Bench& bench) {
    const Golden golden;
    const auto model = load_causal_model(golden_folder / "model", bench.arena.memory(), false);
    const CausalRun run{bench, *model};
    for (const std::string dtype : {"F32", "F16", "BF16"}) {
      CAPTURE(dtype);
      const TemporaryFolder folder;
      save_causal_model(folder.path(), *model, dtype);
      const auto loaded = load_causal_model(folder.path(), bench.arena.memory(), false);
      const CausalRun again{bench, *loaded};
      std::vector<double> expected = run.all(&Parameter::value);
      for (double& value : expected) {
        char stored[4];
        float rounded = static_cast<float>(value);
        store_floats(&rounded, 1, dtype, stored);
        load_floats(stored, 1, dtype, &rounded);
        value = static_cast<double>(rounded);
      }
      CHECK(same_bits(again.all(&Parameter::value), expected));
      if (dtype == "F32") CHECK(same_bits(again.logits(golden.batch()), run.logits(golden.batch())));
    }
  });
}

TEST_CASE("gpt2: sizes whose products could overflow are refused, each by its name") {
  const ModelConfig small{.hidden_size = 8, .num_layers = 1, .num_heads = 2, .vocab_size = 5, .max_positions = 4};
  CHECK(make_causal_model(small) != nullptr);
  for (const auto& [member, name] : std::vector<std::pair<int64_t ModelConfig::*, const char*>>{
           {&ModelConfig::hidden_size, "hidden_size"},
           {&ModelConfig::num_layers, "num_layers"},
           {&ModelConfig::num_heads, "num_heads"},
           {&ModelConfig::ffn_size, "ffn_size"},
           {&ModelConfig::vocab_size, "vocab_size"},
           {&ModelConfig::max_positions, "max_positions"}})
    for (const int64_t size : {int64_t{-1}, int64_t{1} << 31, INT64_MAX}) {
      ModelConfig config = small;
      config.*member = size;
      CHECK_THROWS_WITH_AS(make_causal_model(config), doctest::Contains(name), UsageError);
    }
}

}  // namespace engine::test
