// Optimizer: AdamW (Loshchilov and Hutter 2019) over a model's table of parameters; the moments live on the device, in
// an arena of their own. Weight decay acts on parameters of two or more dimensions. Parameters whose rate is scaled by
// 0 (rate_scales.h) are frozen: no update or decay, and no part in the gradient's norm.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "core/communicator.h"
#include "models/parameters.h"
#include "training/config.h"

namespace engine {

// A tensor that belongs to a parameter in the saved state of a training, such as a moment.
struct StateTensor {
  std::string kind;  // "m"
  const Parameter* parameter;
  Tensor tensor;  // f32, shaped as the parameter

  std::string name() const { return kind + "/" + parameter->name; }
};

class Optimizer {
 public:
  // compute: the precision of the products that read the parameters.
  Optimizer(Ops& ops, Parameters& parameters, const TrainingConfig& config, DType compute);

  // Starts to sum a parameter's complete gradient over all ranks, unless it is frozen. On the host's memory.
  void start_sum(const Parameter& parameter, Communicator& ranks) const;
  // Starts what gives the norm of all gradients together, which is not finite where any of them is not.
  void measure_norm();
  // Starts one update. With the norm measured for it, gradients are scaled down to max_grad_norm where that is less.
  // Gradients are 0 or stale after it. step counts from 1. Where the norm or the loss (f32 [1], optional) is not finite
  // the device leaves parameters, moments and gradients as they are.
  void update(float learning_rate, int64_t step, const Tensor& loss = {}, bool has_norm = true);
  // Both, which a device may capture and start as a whole.
  void measure_and_update(float learning_rate, int64_t step, const Tensor& loss);
  // Waits for what was started, and returns the norm that was measured last.
  float gradient_norm() const;

  // To be called whenever the moments were set. They come from another training of `steps` steps, which the correction
  // of their bias counts from then on; but those of the parameters named in `fresh` are zero.
  void set_steps_before(int64_t steps, const std::vector<std::string>& fresh);

  // Everything beside the values that a training goes on from: the moments.
  std::vector<StateTensor> state() const;
  // One for each parameter, in the table's order.
  const std::vector<AdamWTensor>& tensors() const { return tensors_; }
  Parameters& parameters() const { return parameters_; }

 private:
  static size_t bytes_of(const Parameters& parameters);
  // Puts every tensor that is not frozen into a group. New ones have moments of 0.
  void group_tensors(int64_t steps, const std::vector<std::string>& fresh);
  void mark_moments(const AdamWTensor& tensor);
  void zero_stale();  // gradients that no one has written since the last update

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
  std::array<Group, 2> groups_;             // set_steps_before fills the second
  std::vector<Tensor> gradients_, frozen_;  // those that count in the norm; others, to be zeroed
  std::vector<const Parameter*> kept_;      // their gradients are left as they are, and stale
  Tensor norm_squared_;
};

}  // namespace engine
