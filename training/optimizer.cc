#include "training/optimizer.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "core/arena_room.h"
#include "core/hash.h"
#include "core/ranks.h"
#include "training/rate_scales.h"

namespace engine {

size_t Optimizer::bytes_of(const Parameters& parameters) {
  size_t bytes = arena_room(sizeof(float));  // the norm
  for (const Parameter& p : parameters.all())
    bytes += 2 * arena_room(static_cast<size_t>(p.shape.count()) * sizeof(float));
  return bytes;
}

Optimizer::Optimizer(Ops& ops, Parameters& parameters, const TrainingConfig& config, DType compute)
    : ops_(ops), parameters_(parameters), config_(config), arena_(ops.memory(), bytes_of(parameters)) {
  const std::vector<float> scales = rate_scales(parameters, config);
  if (compute == DType::bf16) parameters.keep_rounded(ops);
  const bool on_host = &ops.memory() == &host_memory();
  for (Parameter& p : parameters.all()) {
    require(static_cast<bool>(p.gradient), "parameter ", p.name, " has no gradient: was the model made to be trained?");
    const float scale = scales[tensors_.size()];
    tensors_.push_back({.value = p.value,
                        .gradient = p.gradient,
                        .m = arena_.make_zeros(DType::f32, p.shape),
                        .v = arena_.make_zeros(DType::f32, p.shape),
                        .learning_rate_scale = scale,
                        .decays = p.decays(),
                        .keeps_gradient = on_host && p.is_linear,
                        .touched_blocks = p.touched_blocks,
                        .rounded = p.rounded});
    if (tensors_.back().keeps_gradient) kept_.push_back(&p);
    if (scale > 0) gradients_.push_back(p.gradient);
    else if (!tensors_.back().keeps_gradient) frozen_.push_back(p.gradient);
  }
  norm_squared_ = arena_.make_zeros(DType::f32, {1});
  group_tensors(0, {});
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
  size_t i = 0;
  for (const Parameter& p : parameters_.all()) {
    const AdamWTensor& tensor = tensors_[i++];
    const bool is_old = steps > 0 && std::find(fresh.begin(), fresh.end(), p.name) == fresh.end();
    if (tensor.learning_rate_scale > 0) groups_[is_old ? 1 : 0].tensors.push_back(tensor);
  }
}

void Optimizer::clear_spent() {
  for (Parameter* p : kept_) p->gradient_to_add_to();
}

void Optimizer::sum_gradients_over_ranks() {
  if (rank_count() == 1) return;
  clear_spent();
  for (const Tensor& gradient : gradients_)
    sum_over_ranks(std::span(gradient.as<float>(), static_cast<size_t>(gradient.count())));
  for (const AdamWTensor& tensor : tensors_)
    if (tensor.touched_blocks)
      or_over_ranks(std::span(tensor.touched_blocks.as<uint8_t>(), tensor.touched_blocks.bytes()));
}

void Optimizer::measure_norm() {
  clear_spent();
  ops_.sum_of_squares({.tensors = gradients_, .result = norm_squared_});
}

float Optimizer::gradient_norm() const {
  float squared = 0;
  arena_.memory().copy_out(&squared, norm_squared_.data, sizeof squared);
  return std::sqrt(squared);
}

void Optimizer::update(float learning_rate, int64_t step, const Tensor& loss) {
  clear_spent();
  for (const Group& group : groups_)
    if (!group.tensors.empty())
      ops_.adamw({.tensors = group.tensors,
                  .learning_rate = learning_rate,
                  .beta1 = config_.adam_beta1,
                  .beta2 = config_.adam_beta2,
                  .epsilon = config_.adam_epsilon,
                  .weight_decay = config_.weight_decay,
                  .step = step + group.steps_before,
                  .norm_squared = norm_squared_,
                  .loss = loss,
                  .max_norm = config_.max_grad_norm});
  for (const Tensor& gradient : frozen_) arena_.memory().zero(gradient.data, gradient.bytes());
  for (Parameter* p : kept_) p->is_spent = true;
}

void Optimizer::measure_and_update(float learning_rate, int64_t step, const Tensor& loss) {
  // What the kernels and their addresses follow from; the rates and the step may differ.
  const std::array<const void*, 2> addresses{norm_squared_.data, loss.data};
  const std::array<size_t, 2> sizes{groups_[0].tensors.size(), groups_[1].tensors.size()};
  const uint64_t of_addresses = hash_of({reinterpret_cast<const char*>(addresses.data()), sizeof addresses});
  const auto work = [&] {
    measure_norm();
    update(learning_rate, step, loss);
  };
  ops_.run_captured(hash_of({reinterpret_cast<const char*>(sizes.data()), sizeof sizes}, of_addresses), std::ref(work));
}

}  // namespace engine
