// Optimizer: AdamW (Loshchilov and Hutter 2019) over a model's table of parameters; the moments live on the device, in
// an arena of their own. Weight decay acts on parameters of two or more dimensions. Parameters whose rate is scaled by
// 0 (rate_scales.h) are frozen: no update or decay, and no part in the gradient's norm.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "models/parameters.h"
#include "training/config.h"

namespace engine {

class Optimizer {
 public:
  // compute: the precision of the products that read the parameters.
  Optimizer(Ops& ops, Parameters& parameters, const TrainingConfig& config, DType compute);

  // Of all ranks, before measure_norm(): each rank's gradients become the sums over all of them. On the CPU.
  void sum_gradients_over_ranks();
  // Starts what gives the norm of all gradients together, which is not finite where any of them is not.
  void measure_norm();
  // Starts one update with the gradients that were measured last, scaled down to max_grad_norm where that is less; they
  // are zero after it, or spent. step counts from 1. Where their norm or the loss (f32 [1], optional) is not finite the
  // device leaves parameters, moments and gradients as they are.
  void update(float learning_rate, int64_t step, const Tensor& loss = {});
  // Both, which a device may capture and start as a whole.
  void measure_and_update(float learning_rate, int64_t step, const Tensor& loss);
  // Waits for what was started: the norm that was measured last.
  float gradient_norm() const;

  // To be called whenever the moments were set. They come from another training of `steps` steps, which the correction
  // of their bias counts from then on; but those of the parameters named in `fresh` are zero.
  void set_steps_before(int64_t steps, const std::vector<std::string>& fresh);

  // One for each parameter, in the table's order: value, gradient and the moments m and v.
  const std::vector<AdamWTensor>& tensors() const { return tensors_; }
  Parameters& parameters() const { return parameters_; }
  Memory& memory() const { return arena_.memory(); }

 private:
  static size_t bytes_of(const Parameters& parameters);
  void group_tensors(int64_t steps, const std::vector<std::string>& fresh);  // new ones begin with 0
  void mark_moments(const AdamWTensor& tensor);
  void clear_spent();  // gradients that no one has written since the last update

  // Tensors whose moments are equally old.
  struct Group {
    int64_t steps_before = 0;
    std::vector<AdamWTensor> tensors;
  };

  Ops& ops_;
  Parameters& parameters_;
  const TrainingConfig& config_;
  Arena arena_;
  std::vector<AdamWTensor> tensors_;
  std::array<Group, 2> groups_;  // of all that is not frozen; set_steps_before fills the second
  std::vector<Tensor> gradients_, frozen_;  // those that count in the norm; others, to be zeroed
  std::vector<Parameter*> kept_;  // those whose gradients are left, and spent
  Tensor norm_squared_;
};

}  // namespace engine
