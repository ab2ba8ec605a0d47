#include "training/optimizer.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "core/arena_room.h"
#include "core/hash.h"
#include "training/rate_scales.h"

namespace engine {

size_t Optimizer::bytes_of(const Parameters& parameters) {
  size_t bytes = arena_room(sizeof(float)) + arena_room(sizeof(int32_t)) + 2 * arena_room(sizeof(AdamWFactors));
  for (const Parameter& p : parameters.all())
    bytes += 2 * arena_room(static_cast<size_t>(p.shape.count()) * sizeof(float));
  return bytes;
}

Optimizer::Optimizer(Ops& ops, Parameters& parameters, const TrainingConfig& config, DType compute)
    : ops_(ops), parameters_(parameters), config_(config), arena_(ops.memory(), bytes_of(parameters)) {
  const std::vector<float> scales = rate_scales(parameters, config);
  if (compute == DType::bf16) parameters.keep_rounded(ops);
  const bool on_host = &ops.memory() == &host_memory();
  Gradients& gradients = parameters.gradients();
  for (const Parameter& p : parameters.all()) {
    const float scale = scales[p.index];
    tensors_.push_back({.value = p.value,
                        .gradient = gradients.read(p),
                        .m = arena_.make_zeros(DType::f32, p.shape),
                        .v = arena_.make_zeros(DType::f32, p.shape),
                        .learning_rate_scale = scale,
                        .decays = p.decays(),
                        .keeps_gradient = on_host && p.is_linear,
                        .touched_blocks = gradients.touched_blocks(p),
                        .rounded = p.rounded()});
    const AdamWTensor& tensor = tensors_.back();
    if (tensor.keeps_gradient) kept_.push_back(&p);
    if (scale > 0) gradients_.push_back(tensor.gradient);
    else if (!tensor.keeps_gradient) frozen_.push_back(tensor.gradient);
  }
  if (config.max_tensor_norm > 0)
    for (const Tensor& gradient : gradients_) clipped_.push_back({gradient});
  norm_squared_ = arena_.make_zeros(DType::f32, {1});
  failed_ = arena_.make_zeros(DType::i32, {1});
  for (Group& group : groups_) group.factors = arena_.make(DType::u8, {sizeof(AdamWFactors)});
  group_tensors(0, {});
}

std::vector<StateTensor> Optimizer::state() const {
  std::vector<StateTensor> state;
  for (const Parameter& p : parameters_.all()) {
    state.push_back({"m", &p, tensors_[p.index].m});
    state.push_back({"v", &p, tensors_[p.index].v});
  }
  return state;
}

void Optimizer::mark_moments(const AdamWTensor& tensor) {
  if (!tensor.touched_blocks) return;
  std::vector<uint8_t> touched(tensor.touched_blocks.bytes());
  std::vector<float> moments(static_cast<size_t>(tensor.m.count()));
  for (const Tensor& of : {tensor.m, tensor.v}) {
    arena_.memory().copy_out(moments.data(), of.data, of.bytes());
    for (size_t i = 0; i < moments.size(); ++i)
      if (moments[i] != 0) touched[i / TouchedBlocks::block] = TouchedBlocks::moments;
  }
  arena_.memory().copy_in(tensor.touched_blocks.data, touched.data(), touched.size());
}

void Optimizer::set_steps_before(int64_t steps, const std::vector<std::string>& fresh) {
  group_tensors(steps, fresh);
  for (const AdamWTensor& tensor : tensors_) mark_moments(tensor);
}

void Optimizer::group_tensors(int64_t steps, const std::vector<std::string>& fresh) {
  for (Group& group : groups_) group.tensors.clear();
  groups_[1].steps_before = steps;
  for (const Parameter& p : parameters_.all()) {
    const AdamWTensor& tensor = tensors_[p.index];
    const bool is_old = steps > 0 && std::find(fresh.begin(), fresh.end(), p.name) == fresh.end();
    if (tensor.learning_rate_scale > 0) groups_[is_old ? 1 : 0].tensors.push_back(tensor);
  }
}

void Optimizer::zero_stale() {
  for (const Parameter* p : kept_) parameters_.gradients().read(*p);
}

void Optimizer::start_sum(const Parameter& parameter, Communicator& ranks) const {
  const AdamWTensor& tensor = tensors_[parameter.index];
  if (tensor.learning_rate_scale == 0) return;
  const Tensor& gradient = parameters_.gradients().read(parameter);
  ranks.start_sum(std::span(gradient.as<float>(), static_cast<size_t>(gradient.count())));
  if (tensor.touched_blocks)
    ranks.start_or(std::span(tensor.touched_blocks.as<uint8_t>(), tensor.touched_blocks.bytes()));
}

void Optimizer::clip_and_measure_norm() {
  zero_stale();
  if (clipped_.empty()) ops_.sum_of_squares({.tensors = gradients_, .result = norm_squared_});
  else ops_.clip_norms({.tensors = clipped_, .max_norm = config_.max_tensor_norm, .result = norm_squared_});
}

float Optimizer::gradient_norm() const {
  float squared = 0;
  arena_.memory().copy_out(&squared, norm_squared_.data, sizeof squared);
  return std::sqrt(squared);
}

AdamWArgs Optimizer::arguments(const Group& group, float learning_rate, int64_t step) const {
  return {.tensors = group.tensors,
          .learning_rate = learning_rate,
          .beta1 = config_.adam_beta1,
          .beta2 = config_.adam_beta2,
          .epsilon = config_.adam_epsilon,
          .weight_decay = config_.weight_decay,
          .step = step + group.steps_before};
}

void Optimizer::update(float learning_rate, int64_t step, const Tensor& loss, bool has_norm) {
  update_groups(learning_rate, step, loss, has_norm, /*is_captured=*/false);
}

void Optimizer::update_groups(float learning_rate, int64_t step, const Tensor& loss, bool has_norm, bool is_captured) {
  zero_stale();
  for (const Group& group : groups_) {
    if (group.tensors.empty()) continue;
    AdamWArgs args = arguments(group, learning_rate, step);
    args.norm_squared = has_norm ? norm_squared_ : Tensor{};
    args.max_norm = has_norm ? config_.max_grad_norm : 0;
    args.loss = loss;
    args.failed = failed_;
    if (is_captured) args.factors = group.factors;
    ops_.adamw(args);
  }
  for (const Tensor& gradient : frozen_) arena_.memory().zero(gradient.data, gradient.bytes());
  for (const Parameter* p : kept_) parameters_.gradients().set_stale(*p);
  parameters_.values_changed(/*copies_too=*/true);
}

void Optimizer::measure_and_update(float learning_rate, int64_t step, const Tensor& loss) {
  for (const Group& group : groups_) {
    if (group.tensors.empty()) continue;
    const AdamWFactors factors = adamw_factors(arguments(group, learning_rate, step));
    arena_.memory().copy_in(group.factors.data, &factors, sizeof factors);
  }
  // The kernels and their addresses follow from these.
  const std::array<const void*, 2> addresses{norm_squared_.data, loss.data};
  const std::array<size_t, 2> sizes{groups_[0].tensors.size(), groups_[1].tensors.size()};
  const uint64_t of_addresses = hash_of({reinterpret_cast<const char*>(addresses.data()), sizeof addresses});
  const auto work = [&] {
    clip_and_measure_norm();
    update_groups(learning_rate, step, loss, /*has_norm=*/true, /*is_captured=*/true);
  };
  ops_.run_captured(hash_of({reinterpret_cast<const char*>(sizes.data()), sizeof sizes}, of_addresses), std::ref(work));
}

}  // namespace engine
