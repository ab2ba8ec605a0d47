// A model run over a batch, for tests of whole models.
#pragma once

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "models/model.h"
#include "tests/operation.h"

namespace engine::test {

// Sequences back to back: sequence s has the tokens offsets[s] ... offsets[s+1]-1. Each is scored by its label, unless
// that is -100; without labels by the token after it.
struct Batch {
  std::vector<int> tokens, offsets;
  std::vector<int> labels = {}, types = {};  // of every token, or none
  std::vector<int> sources = {}, source_offsets = {};  // what an encoder reads of each sequence, or none

  Batch sequence(size_t s) const {
    const auto part = [&](const std::vector<int>& all, const std::vector<int>& of) {
      return all.empty() ? all : std::vector<int>{all.begin() + of[s], all.begin() + of[s + 1]};
    };
    Batch one{part(tokens, offsets), {0, offsets[s + 1] - offsets[s]}, part(labels, offsets), part(types, offsets),
              part(sources, source_offsets)};
    if (!sources.empty()) one.source_offsets = {0, source_offsets[s + 1] - source_offsets[s]};
    return one;
  }
  size_t sequences() const { return offsets.size() - 1; }
  // The rows that are scored, and what each should predict.
  std::pair<std::vector<int>, std::vector<int>> targets() const {
    std::vector<int> rows, wanted;
    for (size_t s = 0; s < sequences(); ++s)
      for (int row = offsets[s]; row < offsets[s + 1]; ++row) {
        const auto at = static_cast<size_t>(row);
        const int label = !labels.empty() ? labels[at] : row + 1 < offsets[s + 1] ? tokens[at + 1] : -100;
        if (label == -100) continue;
        rows.push_back(row);
        wanted.push_back(label);
      }
    return {rows, wanted};
  }
  int scored() const { return static_cast<int>(targets().first.size()); }
};

struct RunOptions {
  bool recompute = false;
  bool training = false;  // dropout
  int64_t first_row = 0;
  int64_t first_sequence = 0;
  int64_t first_source_row = 0;
  int64_t first_asked_row = 0;
  float gradient_scale = 1;
  bool gradients = true;
  bool asks = true;  // for the scored rows alone, as a training does
};

struct ModelRun {
  Bench& bench;
  Model& model;

  // The loss of each scored token; parameter gradients are added to.
  std::vector<double> losses(const Batch& batch, const RunOptions& options = {}) const {
    const ArenaScope scope(bench.arena);
    Inputs inputs = upload(batch);
    Pass pass = make_pass(inputs, options);
    const auto [rows, labels] = batch.targets();
    if (rows.empty()) return {};
    const Shape scored{static_cast<int64_t>(rows.size())};
    if (options.asks) inputs.tokens.asked = ask(batch, options.first_asked_row);
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

  // Of every row, or of the scored ones of a batch with labels; `keeps`: as in a pass that a backward one may follow.
  std::vector<double> logits(const Batch& batch, bool keeps = true, bool asks = true) const {
    const ArenaScope scope(bench.arena);
    Inputs inputs = upload(batch);
    Pass pass = make_pass(inputs, {});
    pass.keep = keeps;
    const auto saved = model.make_saved();
    const std::vector<int> rows = batch.labels.empty() ? std::vector<int>{} : batch.targets().first;
    if (!batch.labels.empty() && rows.empty()) return {};
    if (asks && !rows.empty()) inputs.tokens.asked = ask(batch, 0);
    const Tensor chosen = rows.empty() ? Tensor{} : bench.integers({static_cast<int64_t>(rows.size())}, rows);
    return bench.values(model_logits(pass, model, inputs.tokens, chosen, *saved));
  }
  // The hidden states of every row.
  std::vector<double> hidden(const Batch& batch) const {
    const ArenaScope scope(bench.arena);
    Inputs inputs = upload(batch);
    Pass pass = make_pass(inputs, {});
    const auto saved = model.make_saved();
    return bench.values(model.forward(pass, inputs.tokens, *saved));
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
  // Tokens back to back, their positions and where they lie.
  Tokens::Source upload_row(const std::vector<int>& tokens, const std::vector<int>& offsets) const {
    std::vector<int> positions;
    int longest = 0;
    for (size_t s = 0; s + 1 < offsets.size(); ++s) {
      const int length = offsets[s + 1] - offsets[s];
      longest = std::max(longest, length);
      for (int i = 0; i < length; ++i) positions.push_back(i);
    }
    const Shape shape{static_cast<int64_t>(tokens.size())};
    const Tensor on_device = bench.integers({static_cast<int64_t>(offsets.size())}, offsets);
    return {bench.integers(shape, tokens), bench.integers(shape, positions), Segments::packed(on_device, longest)};
  }
  Inputs upload(const Batch& batch) const {
    const Tokens::Source row = upload_row(batch.tokens, batch.offsets);
    Tokens tokens{.ids = row.ids, .positions = row.positions};
    if (!batch.types.empty()) tokens.types = bench.integers(row.ids.shape, batch.types);
    if (!batch.sources.empty()) tokens.source = upload_row(batch.sources, batch.source_offsets);
    return {tokens, row.segments};
  }
  // The scored rows.
  AskedRows ask(const Batch& batch, int64_t first_row) const {
    const std::vector<int> rows = batch.targets().first;
    std::vector<int> offsets;
    int longest = 0;
    for (const int end : batch.offsets) {
      offsets.push_back(static_cast<int>(std::lower_bound(rows.begin(), rows.end(), end) - rows.begin()));
      if (offsets.size() > 1) longest = std::max(longest, offsets.back() - offsets[offsets.size() - 2]);
    }
    const Tensor on_device = bench.integers({static_cast<int64_t>(offsets.size())}, offsets);
    return {bench.integers({static_cast<int64_t>(rows.size())}, rows), Segments::packed(on_device, longest), first_row};
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
            .first_row = options.first_row,
            .first_sequence = options.first_sequence,
            .first_source_row = options.first_source_row};
  }
};

inline bool same_bits(const std::vector<double>& a, const std::vector<double>& b) {
  return a.size() == b.size() && !a.empty() && std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0;
}

}  // namespace engine::test
