// Every architecture must pass these checks. Its numbers are those of transformers (a golden folder as golden/make_*.py
// write them), its gradients are derivatives, and packing, recomputation and the number of threads change no result.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "core/safetensors.h"
#include "models/model.h"
#include "tests/invariance.h"
#include "tests/model_run.h"

namespace engine::test {

struct Golden {
  std::filesystem::path folder;
  Safetensors values = Safetensors::open(folder / "values.safetensors");

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
  Batch batch() const {
    const auto optional = [&](const char* name) {
      return values.entries().contains(name) ? integers(name) : std::vector<int>{};
    };
    return {integers("tokens"), integers("offsets"), optional("labels"), optional("types"),
            optional("sources"), optional("source_offsets")};
  }

  // transformers' own run in a precision shows what its arithmetic loses. This engine rounds in other places and adds
  // in another order. So it gets twice as much in bf16, where the largest of few roundings rules, and four times as
  // much in f32, but never less than 32 roundings, as errors there are random sums.
  double tolerance(DType compute, const std::string& of) const {
    if (compute == DType::bf16) return 2 * number("error.bf16." + of);
    return std::max(4 * number("error.f32." + of), 32 * epsilon_of(DType::f32));
  }
  // Two runs of this engine that add in different orders may each be off by that much.
  double tolerance_of_two(DType compute, const std::string& of) const { return 2 * tolerance(compute, of); }
};

inline double mean(const std::vector<double>& values) {
  double sum = 0;
  for (double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

inline void adamw_step(Bench& bench, const Golden& golden, const std::vector<AdamWTensor>& tensors, int64_t step) {
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

inline std::map<std::string, std::vector<double>> values_by_name(Bench& bench, Model& model) {
  std::map<std::string, std::vector<double>> values;
  for (const Parameter& p : model.parameters().all()) values[p.name] = bench.values(p.value);
  return values;
}
inline std::map<std::string, std::vector<double>> gradients_by_name(const ModelRun& run) {
  std::map<std::string, std::vector<double>> gradients;
  for (const Parameter& p : run.model.parameters().all()) gradients[p.name] = run.gradient(p);
  return gradients;
}

// Returns the parameters' values, by name, of the folder "model", "gradients" or "after".
using Folder = std::function<std::map<std::string, std::vector<double>>(const std::string& name)>;

// Checks logits, loss, every gradient and three AdamW steps.
inline void check_golden(const ModelRun& run, const Golden& golden, const Folder& parameters_in) {
  const Batch batch = golden.batch();
  const std::vector<double> logits = golden.numbers("logits");
  const double logits_tolerance = golden.tolerance(run.bench.compute, "logits");
  CHECK_CLOSE(run.logits(batch), logits, logits_tolerance);

  const RunOptions options{.gradient_scale = 1.0f / static_cast<float>(batch.scored())};
  const double loss = mean(run.losses(batch, options)), expected_loss = golden.number("loss");
  // A loss moves by at most twice the largest change of a logit.
  double largest = 0;
  for (double logit : logits) largest = std::max(largest, std::abs(logit));
  INFO("loss ", loss, ", by transformers ", expected_loss);
  CHECK(std::abs(loss - expected_loss) <= 2 * logits_tolerance * largest);

  const auto expected_gradients = parameters_in("gradients");
  CHECK(expected_gradients.size() == run.model.parameters().all().size());
  for (const Parameter& p : run.model.parameters().all()) {
    CAPTURE(p.name);
    const double tolerance = golden.tolerance(run.bench.compute, "gradients");
    CHECK_CLOSE(run.gradient(p), expected_gradients.at(p.name), tolerance);
  }

  std::vector<AdamWTensor> tensors;
  for (const Parameter& p : run.model.parameters().all())
    tensors.push_back({p.value, run.model.parameters().gradients().read(p), run.bench.zeros(p.shape),
                       run.bench.zeros(p.shape), 1, p.decays()});
  adamw_step(run.bench, golden, tensors, 1);
  for (int64_t step = 2; step <= 3; ++step) {
    run.losses(batch, options);
    adamw_step(run.bench, golden, tensors, step);
  }
  const auto before = parameters_in("model");
  const auto expected = parameters_in("after");
  for (const Parameter& p : run.model.parameters().all()) {
    CAPTURE(p.name);
    std::vector<double> moved = run.bench.values(p.value), expected_moved = expected.at(p.name);
    for (size_t i = 0; i < moved.size(); ++i) {
      moved[i] -= before.at(p.name)[i];
      expected_moved[i] -= before.at(p.name)[i];
    }
    CHECK_CLOSE(moved, expected_moved, golden.tolerance(run.bench.compute, "moved"));
  }
}

// Checks that one sequence at a time gives what all packed into one row give, without and with dropout.
inline void check_packing(const ModelRun& run, const Golden& golden) {
  const Batch batch = golden.batch();
  for (const bool training : {false, true}) {
    CAPTURE(training);
    run.zero_gradients();
    const std::vector<double> losses = run.losses(batch, {.training = training});
    const auto gradients = gradients_by_name(run);
    run.zero_gradients();
    std::vector<double> losses_apart, logits_apart;
    int64_t outputs = 0;
    for (size_t s = 0; s < batch.sequences(); ++s) {
      append(losses_apart,
             run.losses(batch.sequence(s), {.training = training, .rows_before = batch.offsets[s],
                                            .source_rows_before = batch.sources.empty() ? 0 : batch.source_offsets[s],
                                            .output_rows_before = outputs}));
      outputs += batch.sequence(s).scored();
      append(logits_apart, run.logits(batch.sequence(s)));
    }
    CHECK_CLOSE(losses_apart, losses, golden.tolerance_of_two(run.bench.compute, "logits"));
    CHECK_CLOSE(logits_apart, run.logits(batch), golden.tolerance_of_two(run.bench.compute, "logits"));
    // Each is compared by itself, since the largest gradient of all would hide those of small parameters.
    for (const auto& [name, gradient] : gradients_by_name(run)) {
      CAPTURE(name);
      CHECK_CLOSE(gradient, gradients.at(name), golden.tolerance_of_two(run.bench.compute, "gradients"));
    }
  }
}

// Returns the batch with other rows scored. They are the batch's own rows, those of its first and last sequence alone,
// one in the middle of the last (whose source has several tokens, since with one no query has a gradient), and all.
// Labels are those that the batch has.
inline std::vector<Batch> scored_otherwise(const Batch& batch) {
  const std::vector<int> labels = batch.targets().second;
  const int first_end = batch.offsets[1], last_begin = batch.offsets[batch.sequences() - 1];
  const int middle = (last_begin + batch.offsets.back()) / 2;
  const auto with = [&](const std::function<bool(int row)>& is_scored) {
    Batch result = batch;
    result.labels.assign(batch.tokens.size(), -100);
    for (int row = 0; row < static_cast<int>(batch.tokens.size()); ++row)
      if (is_scored(row)) result.labels[static_cast<size_t>(row)] = labels[static_cast<size_t>(row) % labels.size()];
    return result;
  };
  return {batch, with([&](int row) { return row < first_end || row >= last_begin; }),
          with([&](int row) { return row == middle; }), with([](int) { return true; })};
}

// Checks that a model computes the same of the scored rows alone as of them among all rows, but for the order of sums
// over rows. Each parameter's gradient is within what the precision loses. (With dropout it draws other numbers there,
// which check_packing and check_derivatives look at.)
inline void check_output_rows(const ModelRun& run, const Golden& golden) {
  REQUIRE(golden.batch().scored() < static_cast<int>(golden.batch().tokens.size()));
  const double of_logits = golden.tolerance_of_two(run.bench.compute, "logits");
  const auto largest_of = [](const std::vector<double>& values) {
    double largest = 0;
    for (double value : values) largest = std::max(largest, std::abs(value));
    return largest;
  };
  const double largest = largest_of(golden.numbers("logits"));
  for (const Batch& batch : scored_otherwise(golden.batch())) {
    CAPTURE(batch.scored());
    run.zero_gradients();
    const std::vector<double> losses = run.losses(batch, {.outputs_alone = false});
    const auto gradients = gradients_by_name(run);
    run.zero_gradients();
    CHECK_CLOSE(run.losses(batch), losses, of_logits);
    for (const auto& [name, gradient] : gradients_by_name(run)) {
      CAPTURE(name);
      CHECK_CLOSE(gradient, gradients.at(name), golden.tolerance_of_two(run.bench.compute, "gradients"));
    }
    // The tolerance belongs to the largest of all logits, and those of few rows may be smaller.
    const std::vector<double> among_all = run.logits(batch, true, /*outputs_alone=*/false);
    CHECK_CLOSE(run.logits(batch), among_all, of_logits * std::max(1.0, largest / largest_of(among_all)));
  }
}

// Checks that recomputation gives the same bits, with dropout too, and that dropout does something.
inline void check_recomputation(const ModelRun& run, const Batch& batch) {
  for (const bool training : {false, true}) {
    CAPTURE(training);
    run.zero_gradients();
    const std::vector<double> losses = run.losses(batch, {.training = training});
    const std::vector<double> gradients = run.gradients();
    run.zero_gradients();
    CHECK(same_bits(run.losses(batch, {.recompute = true, .training = training}), losses));
    CHECK(same_bits(run.gradients(), gradients));
  }
  CHECK(!same_bits(run.losses(batch, {.training = true}), run.losses(batch)));
}

inline void check_threads(const ModelRun& run, const Batch& batch) {
  check_same_at_any_thread_count([&] {
    run.zero_gradients();
    std::vector<double> results = run.losses(batch, {.training = true});
    append(results, run.gradients());
    append(results, run.logits(batch));
    return results;
  });
}

// Checks gradients by finite differences, without and with dropout. It does so in f32 only, since rounding to bf16 has
// no derivative, and on the CPU only. Derivatives show that the mathematics is right, and a device must match the
// golden gradients, which take hundreds of passes less.
// losses_of(training, gradients) gives the losses of the scored tokens, and adds to the gradients; it need not where it
// is not asked to. A loss errs by so many roundings.
template <class Losses>
void check_derivatives_of(Bench& bench, Parameters& parameters, double roundings, const Losses& losses_of) {
  if (bench.is_device) return;
  for (const bool training : {false, true}) {
    CAPTURE(training);
    parameters.gradients().zero();
    const std::vector<double> losses = losses_of(training, /*gradients=*/true);
    const auto scored = static_cast<double>(losses.size());
    const double loss = mean(losses) * scored;
    std::vector<std::vector<double>> gradients;
    for (const Parameter& p : parameters.all()) gradients.push_back(bench.values(parameters.gradients().read(p)));
    for (const Parameter& p : parameters.all()) {
      CAPTURE(p.name);
      const std::vector<double> values = bench.values(p.value);
      const std::vector<double>& gradient = gradients[p.index];
      // This is a direction over some elements, since one over thousands would drown each.
      std::vector<std::pair<size_t, double>> direction;
      double slope = 0, size = 0;
      for (int i = 0; i < 24; ++i) {
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
          bench.arena.memory().copy_in(p.value.data, moved.data(), p.value.bytes());
          parameters.values_changed(/*copies_too=*/false);
          ends[end] = mean(losses_of(training, /*gradients=*/false)) * scored;
        }
        return (ends[0] - ends[1]) / (2 * static_cast<double>(step));
      };
      // In two central differences the part of order step^2 cancels, and the rest is far less than their difference.
      // Rounding moves a loss by some units of its last place.
      const float step = 0.01f;
      const double fine = difference(step), coarse = difference(2 * step);
      const std::vector<float> restored(values.begin(), values.end());
      bench.arena.memory().copy_in(p.value.data, restored.data(), p.value.bytes());
      parameters.values_changed(/*copies_too=*/false);
      const double allowed = 0.5 * std::abs(fine - coarse) +
                             roundings * epsilon_of(DType::f32) * loss / static_cast<double>(step);
      INFO("slope ", slope, ", by differences ", (4 * fine - coarse) / 3, ", allowed ", allowed, " of ", size);
      CHECK(std::abs((4 * fine - coarse) / 3 - slope) <= allowed);
      CHECK(allowed <= 0.02 * size);
    }
  }
}
inline void check_derivatives(const ModelRun& run, const Batch& batch) {
  check_derivatives_of(run.bench, run.model.parameters(), 8, [&](bool training, bool gradients) {
    return run.losses(batch, {.training = training, .gradients = gradients});
  });
}

}  // namespace engine::test
