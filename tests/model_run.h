// A ModelRun runs a model over a batch, for tests of whole models.
#pragma once

#include <algorithm>
#include <cstring>
#include <tuple>
#include <utility>
#include <vector>

#include "models/objective.h"
#include "tests/operation.h"

namespace engine::test {

// These sequences lie back to back. Sequence s has the tokens offsets[s] ... offsets[s+1]-1. Each token is scored by
// its label, unless that is -100, and without labels by the token after it.
struct Batch {
  std::vector<int> tokens, offsets;
  std::vector<int> labels = {}, types = {};  // of every token, or empty
  std::vector<int> sources = {}, source_offsets = {};  // source of each sequence, or empty

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
  // Returns the rows that are scored, and what each should predict.
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
  // These count rows of the step before the batch's, of each kind.
  int64_t rows_before = 0, source_rows_before = 0, output_rows_before = 0;
  float gradient_scale = 1;
  bool gradients = true;
  bool outputs_alone = true;  // hidden states of the scored rows alone, as in a training
  StreamTap* tap = nullptr;
};

// This is the cross entropy of a model's outputs. With all_rows it needs the hidden states of every row.
struct TestObjective final : Objective {
  CrossEntropyObjective own;
  bool all_rows;
  TestObjective(const Model& model, bool all_rows_) : own(model), all_rows(all_rows_) {}
  bool reads_all_rows() const override { return all_rows; }
  Tensor run(Pass& pass, const Tensor& hidden, const DeviceBatch& batch, const LossRequest& request) override {
    return own.run(pass, hidden, batch, request);
  }
};

struct ModelRun {
  Bench& bench;
  Model& model;

  // Returns the loss of each scored token, and adds to the parameters' gradients.
  std::vector<double> losses(const Batch& batch, const RunOptions& options = {}) const {
    const ArenaScope scope(bench.arena);
    const DeviceBatch on_device = upload(batch, options);
    if (!on_device.labels) return {};
    Pass pass = make_pass(options);
    const Tensor row_losses = bench.unset(DType::f32, on_device.labels.shape);
    const auto saved = model.make_saved();
    TestObjective objective(model, !options.outputs_alone);
    run_objective(pass, model, objective, on_device,
                  {.totals = bench.zeros({3}),
                   .gradient_scale = options.gradient_scale,
                   .gradients = options.gradients,
                   .row_losses = row_losses},
                  *saved);
    return bench.values(row_losses);
  }

  // Returns the logits of every row, or of the scored ones of a batch with labels. `keeps` keeps what a backward pass
  // needs.
  std::vector<double> logits(const Batch& batch, bool keeps = true, bool outputs_alone = true) const {
    const ArenaScope scope(bench.arena);
    const DeviceBatch on_device = upload(batch, {});
    const bool is_labelled = !batch.labels.empty();
    if (is_labelled && !on_device.labels) return {};
    Pass pass = make_pass({});
    pass.keep = keeps;
    pass.layout = on_device.layout;
    pass.source = on_device.source;
    if (is_labelled && outputs_alone) pass.outputs = on_device.outputs;
    const auto saved = model.make_saved();
    const Tensor chosen = is_labelled ? on_device.outputs.index : Tensor{};
    return bench.values(model_logits(pass, model, on_device.tokens, chosen, *saved));
  }
  // Returns the hidden states of every row.
  std::vector<double> hidden(const Batch& batch) const {
    const ArenaScope scope(bench.arena);
    const DeviceBatch on_device = upload(batch, {});
    Pass pass = make_pass({});
    pass.layout = on_device.layout;
    pass.source = on_device.source;
    const auto saved = model.make_saved();
    return bench.values(model.hidden_states(pass, on_device.tokens, *saved));
  }

  // Returns the values of all parameters, one after another, and gradients() their gradients.
  std::vector<double> values() const {
    std::vector<double> result;
    for (const Parameter& p : model.parameters().all())
      for (const double value : bench.values(p.value)) result.push_back(value);
    return result;
  }
  std::vector<double> gradient(const Parameter& p) const {
    return bench.values(model.parameters().gradients().read(p));
  }
  std::vector<double> gradients() const {
    std::vector<double> result;
    for (const Parameter& p : model.parameters().all())
      for (const double value : gradient(p)) result.push_back(value);
    return result;
  }
  void zero_gradients() const { model.parameters().gradients().zero(); }

  // Returns the batch on the device. Without a scored row it has no labels.
  DeviceBatch upload(const Batch& batch, const RunOptions& options) const {
    DeviceBatch result;
    std::tie(result.tokens.ids, result.layout) = upload_row(batch.tokens, batch.offsets, options.rows_before);
    if (!batch.types.empty()) result.tokens.types = bench.integers(result.tokens.ids.shape, batch.types);
    if (!batch.sources.empty())
      std::tie(result.tokens.source_ids, result.source) =
          upload_row(batch.sources, batch.source_offsets, options.source_rows_before);
    const auto [rows, labels] = batch.targets();
    if (rows.empty()) return result;
    const Shape scored{static_cast<int64_t>(rows.size())};
    std::vector<int> offsets, positions;
    int longest = 0;
    for (const int end : batch.offsets) {
      offsets.push_back(static_cast<int>(std::lower_bound(rows.begin(), rows.end(), end) - rows.begin()));
      if (offsets.size() > 1) longest = std::max(longest, offsets.back() - offsets[offsets.size() - 2]);
    }
    for (const int row : rows)
      positions.push_back(row - *(std::upper_bound(batch.offsets.begin(), batch.offsets.end(), row) - 1));
    const Tensor on_device = bench.integers({static_cast<int64_t>(offsets.size())}, offsets);
    result.outputs = {bench.integers(scored, rows),
                      {Segments::packed(on_device, longest), bench.integers(scored, positions),
                       options.output_rows_before}};
    result.labels = bench.integers(scored, labels);
    return result;
  }
  Pass make_pass(const RunOptions& options) const {
    Gradients* const gradients = model.parameters().has_gradients() ? &model.parameters().gradients() : nullptr;
    Pass pass(Run{.ops = bench.ops,
                  .arena = bench.arena,
                  .compute = bench.compute,
                  .recompute = options.recompute,
                  .gradients = gradients},
              {}, {.is_active = options.training, .seed = 5, .step = 3});
    pass.tap = options.tap;
    return pass;
  }

 private:
  // Returns tokens back to back, and their layout.
  std::pair<Tensor, Layout> upload_row(const std::vector<int>& tokens, const std::vector<int>& offsets,
                                       int64_t rows_before) const {
    std::vector<int> positions;
    int longest = 0;
    for (size_t s = 0; s + 1 < offsets.size(); ++s) {
      const int length = offsets[s + 1] - offsets[s];
      longest = std::max(longest, length);
      for (int i = 0; i < length; ++i) positions.push_back(i);
    }
    const Shape shape{static_cast<int64_t>(tokens.size())};
    const Tensor on_device = bench.integers({static_cast<int64_t>(offsets.size())}, offsets);
    return {bench.integers(shape, tokens),
            {Segments::packed(on_device, longest), bench.integers(shape, positions), rows_before}};
  }
};

inline bool same_bits(const std::vector<double>& a, const std::vector<double>& b) {
  return a.size() == b.size() && !a.empty() && std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0;
}

}  // namespace engine::test
