// Optimizer: AdamW (Loshchilov and Hutter 2019) over a model's table of parameters; the moments live on the device, in
// an arena of their own. Weight decay acts on parameters of two or more dimensions.
#pragma once

#include <vector>

#include "models/parameters.h"
#include "training/config.h"

namespace engine {

class Optimizer {
 public:
  Optimizer(Ops& ops, Parameters& parameters, const TrainingConfig& config);

  // The norm of all gradients together; not finite where any of them is not.
  float gradient_norm();
  // One update with the gradients that gradient_norm() measured, scaled down to max_grad_norm where that is less; the
  // gradients are zero after it. step counts from 1.
  void update(float learning_rate, int64_t step);

  // One for each parameter, in the table's order: value, gradient and the moments m and v.
  const std::vector<AdamWTensor>& tensors() const { return tensors_; }
  const Parameters& parameters() const { return parameters_; }
  Memory& memory() const { return arena_.memory(); }

 private:
  static size_t bytes_of(const Parameters& parameters);

  Ops& ops_;
  Parameters& parameters_;
  const TrainingConfig& config_;
  Arena arena_;
  std::vector<AdamWTensor> tensors_;
  std::vector<Tensor> gradients_;
  Tensor norm_squared_;
};

}  // namespace engine
