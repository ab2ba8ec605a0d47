// A decoder run over a batch, for tests of whole models.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "models/causal_model.h"
#include "tests/operation.h"

namespace engine::test {

// Sequences back to back: sequence s has the tokens offsets[s] ... offsets[s+1]-1, each scored by the token after it.
struct Batch {
  std::vector<int> tokens, offsets;

  Batch sequence(size_t s) const {
    const auto begin = tokens.begin() + offsets[s], end = tokens.begin() + offsets[s + 1];
    return {{begin, end}, {0, offsets[s + 1] - offsets[s]}};
  }
  int scored() const { return static_cast<int>(tokens.size() - offsets.size() + 1); }
};

struct RunOptions {
  bool recompute = false;
  bool training = false;  // dropout
  int64_t first_row = 0;
  float gradient_scale = 1;
  bool gradients = true;
};

struct CausalRun {
  Bench& bench;
  CausalModel& model;

  // The loss of each scored token; parameter gradients are added to.
  std::vector<double> losses(const Batch& batch, const RunOptions& options = {}) const {
    const ArenaScope scope(bench.arena);
    Inputs inputs = upload(batch);
    Pass pass = make_pass(inputs, options);
    std::vector<int> rows, labels;
    for (size_t s = 0; s + 1 < batch.offsets.size(); ++s)
      for (int row = batch.offsets[s]; row + 1 < batch.offsets[s + 1]; ++row) {
        rows.push_back(row);
        labels.push_back(batch.tokens[static_cast<size_t>(row) + 1]);
      }
    const Shape scored{static_cast<int64_t>(rows.size())};
    const Tensor row_losses = bench.unset(DType::f32, scored);
    const auto saved = model.make_saved();
    model_loss(pass, model,
                {.tokens = inputs.tokens,
                 .scored_rows = bench.integers(scored, rows),
                 .labels = bench.integers(scored, labels),
                 .totals = bench.zeros({3}),
                 .gradient_scale = options.gradient_scale,
                 .gradients = options.gradients,
                 .row_losses = row_losses},
                *saved);
    return bench.values(row_losses);
  }

  // Of every row.
  std::vector<double> logits(const Batch& batch) const {
    const ArenaScope scope(bench.arena);
    Inputs inputs = upload(batch);
    Pass pass = make_pass(inputs, {});
    const auto saved = model.make_saved();
    return bench.values(model_logits(pass, model, inputs.tokens, {}, *saved));
  }

  // The values or gradients of all parameters, one after another.
  std::vector<double> all(Tensor Parameter::* of) const {
    std::vector<double> result;
    for (const Parameter& parameter : model.parameters().all())
      for (double value : bench.values(parameter.*of)) result.push_back(value);
    return result;
  }
  void zero_gradients() const {
    for (const Parameter& parameter : model.parameters().all())
      bench.arena.memory().zero(parameter.gradient.data, parameter.gradient.bytes());
  }

 private:
  struct Inputs {
    Tokens tokens;
    Segments segments;
  };
  Inputs upload(const Batch& batch) const {
    std::vector<int> positions;
    int longest = 0;
    for (size_t s = 0; s + 1 < batch.offsets.size(); ++s) {
      const int length = batch.offsets[s + 1] - batch.offsets[s];
      longest = std::max(longest, length);
      for (int i = 0; i < length; ++i) positions.push_back(i);
    }
    const Shape shape{static_cast<int64_t>(batch.tokens.size())};
    const Tensor offsets = bench.integers({static_cast<int64_t>(batch.offsets.size())}, batch.offsets);
    const Tokens tokens{bench.integers(shape, batch.tokens), bench.integers(shape, positions)};
    return {tokens, Segments::packed(offsets, longest)};
  }
  Pass make_pass(const Inputs& inputs, const RunOptions& options) const {
    return {.ops = bench.ops,
            .arena = bench.arena,
            .compute = bench.compute,
            .segments = inputs.segments,
            .recompute = options.recompute,
            .training = options.training,
            .seed = 5,
            .step = 3,
            .first_row = options.first_row};
  }
};

inline bool same_bits(const std::vector<double>& a, const std::vector<double>& b) {
  return a.size() == b.size() && !a.empty() && std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0;
}

}  // namespace engine::test
