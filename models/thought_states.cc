#include "models/thought_states.h"

#include <algorithm>

namespace engine {

std::vector<std::span<const int32_t>> parts_at_thoughts(std::span<const int32_t> tokens, int32_t thought) {
  std::vector<std::span<const int32_t>> parts;
  for (size_t begin = 0; begin < tokens.size();) {
    size_t end = begin + 1;
    while (end < tokens.size() && (thought < 0 || tokens[end] != thought)) ++end;
    parts.push_back(tokens.subspan(begin, end - begin));
    begin = end;
  }
  return parts;
}

ThoughtStates::ThoughtStates(Parameters& table, const ModelConfig& config) {
  if (!config.thought_states) return;
  const int64_t layers = config.num_layers;
  const float span = static_cast<float>(layers);
  capture = &table.add("thought.mixture.capture", {layers},
                       Initial::ramp(0, 1 / static_cast<float>(std::max<int64_t>(1, layers / 6))));
  inject = &table.add("thought.mixture.inject", {layers}, Initial::ramp(1, -1 / span));
  if (config.thought_norm)
    norm.emplace(table, "thought.norm", config.hidden_size, config.layer_norm_epsilon, DropoutSite{});
}

Tensor ThoughtStates::dense(Pass& pass, const Tensor& captured, Saved& saved) const {
  if (!norm) return captured;
  const Tensor result = pass.arena.make(DType::f32, captured.shape);
  norm->forward(pass, {}, captured, result, saved.norm);
  return result;
}

void ThoughtStates::dense_backward(Pass& pass, const Tensor& ddense, const Saved& saved,
                                   const Tensor& dcaptured) const {
  if (norm) norm->backward(pass, ddense, saved.norm, {dcaptured, {}}, /*accumulate=*/false);
  else pass.ops.copy({.x = ddense, .y = dcaptured});
}

void ThoughtTap::begin(const Tensor& inject_rows, const Tensor& dense, const Tensor& capture_rows,
                       const Tensor& captured) {
  inject_rows_ = inject_rows.count() ? inject_rows : Tensor{};
  capture_rows_ = capture_rows.count() ? capture_rows : Tensor{};
  dense_ = dense;
  captured_ = captured;
  streams_.assign(static_cast<size_t>(layers()) + 1, Tensor{});
}

void ThoughtTap::begin_backward(const Tensor& dcaptured, const Tensor& ddense) {
  dcaptured_ = dcaptured;
  ddense_ = ddense;
}

bool ThoughtTap::is_at(int64_t boundary) const { return injects_at(boundary) || captures_at(boundary); }

void ThoughtTap::forward(Pass& pass, int64_t boundary, const Tensor& x) {
  if (captures_at(boundary)) {
    const RowScale scale{states_.capture->value, boundary - 1, Gate::softmax};
    pass.ops.add_scaled_rows({.x = x, .x_index = capture_rows_, .y = captured_, .scale = scale});
    if (pass.keep) {
      Tensor& stream = streams_[static_cast<size_t>(boundary)];
      stream = pass.arena.make(DType::f32, captured_.shape);
      pass.ops.gather_rows({.x = x, .index = capture_rows_, .y = stream});
    }
  }
  if (injects_at(boundary)) {
    const RowScale scale{states_.inject->value, boundary, Gate::relu};
    pass.ops.add_scaled_rows({.x = dense_, .y = x, .y_index = inject_rows_, .scale = scale});
  }
}

void ThoughtTap::backward(Pass& pass, int64_t boundary, const Tensor& dx) {
  if (injects_at(boundary)) {
    const RowScale scale{states_.inject->value, boundary, Gate::relu};
    pass.ops.row_scale_backward({.x = dense_, .dy = dx, .dy_index = inject_rows_, .scale = scale,
                                 .dweights = pass.gradients->sum(*states_.inject)});
    pass.ops.add_scaled_rows({.x = dx, .x_index = inject_rows_, .y = ddense_, .scale = scale});
  }
  if (captures_at(boundary) && dcaptured_) {
    const RowScale scale{states_.capture->value, boundary - 1, Gate::softmax};
    pass.ops.row_scale_backward({.x = streams_[static_cast<size_t>(boundary)], .dy = dcaptured_, .scale = scale,
                                 .dweights = pass.gradients->sum(*states_.capture)});
    pass.ops.add_scaled_rows({.x = dcaptured_, .y = dx, .y_index = capture_rows_, .scale = scale});
  }
}

}  // namespace engine
