#include "training/optimizer.h"

#include <cmath>

namespace engine {

size_t Optimizer::bytes_of(const Parameters& parameters) {
  constexpr size_t alignment = 64;
  size_t bytes = alignment;  // the norm
  for (const Parameter& p : parameters.all())
    bytes += 2 * ((static_cast<size_t>(p.shape.count()) * sizeof(float) + alignment - 1) / alignment * alignment);
  return bytes;
}

Optimizer::Optimizer(Ops& ops, Parameters& parameters, const TrainingConfig& config)
    : ops_(ops), parameters_(parameters), config_(config), arena_(ops.memory(), bytes_of(parameters)) {
  for (Parameter& p : parameters.all()) {
    require(static_cast<bool>(p.gradient), "parameter ", p.name, " has no gradient: was the model made to be trained?");
    tensors_.push_back({.value = p.value,
                        .gradient = p.gradient,
                        .m = arena_.make_zeros(DType::f32, p.shape),
                        .v = arena_.make_zeros(DType::f32, p.shape),
                        .decays = p.decays()});
    gradients_.push_back(p.gradient);
  }
  norm_squared_ = arena_.make_zeros(DType::f32, {1});
}

float Optimizer::gradient_norm() {
  ops_.sum_of_squares({.tensors = gradients_, .result = norm_squared_});
  float squared = 0;
  arena_.memory().copy_out(&squared, norm_squared_.data, sizeof squared);
  return std::sqrt(squared);
}

void Optimizer::update(float learning_rate, int64_t step) {
  ops_.adamw({.tensors = tensors_,
              .learning_rate = learning_rate,
              .beta1 = config_.adam_beta1,
              .beta2 = config_.adam_beta2,
              .epsilon = config_.adam_epsilon,
              .weight_decay = config_.weight_decay,
              .step = step,
              .norm_squared = norm_squared_,
              .max_norm = config_.max_grad_norm});
}

}  // namespace engine
