// The optimizer is AdamW (Loshchilov and Hutter 2019) over a model's table of parameters. The moments live on the
// device, in an arena of their own. Weight decay acts on parameters of two or more dimensions. Parameters whose rate is
// scaled by 0 (rate_scales.h) are frozen. They have no update or decay, and no part in the gradient's norm.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "core/communicator.h"
#include "models/parameters.h"
#include "training/config.h"

namespace engine {

// A StateTensor belongs to a parameter in the saved state of a training, such as a moment.
struct StateTensor {
  std::string kind;  // "m"
  const Parameter* parameter;
  Tensor tensor;  // f32, shaped as the parameter

  std::string name() const { return kind + "/" + parameter->name; }
};

class Optimizer {
 public:
  // compute is the precision of the products that read the parameters.
  Optimizer(Ops& ops, Parameters& parameters, const TrainingConfig& config, DType compute);

  // Starts to sum a parameter's complete gradient over all ranks, on the host's memory, unless the parameter is frozen.
  void start_sum(const Parameter& parameter, Communicator& ranks) const;
  // Scales every gradient whose own norm is above max_tensor_norm down to that, and starts to measure the norm of all
  // gradients together behind that, which is not finite where any of them is not.
  void clip_and_measure_norm();
  // Starts one update. With the norm measured for it, gradients are scaled down to max_grad_norm where that is less.
  // Gradients are 0 or stale after it. step counts from 1. Where the norm or the loss (f32 [1], optional) is not
  // finite, the device leaves parameters, moments and gradients as they are, and so it does with all later updates
  // until go_on().
  void update(float learning_rate, int64_t step, const Tensor& loss = {}, bool has_norm = true);
  // Starts both, which a device may capture and start as a whole.
  void measure_and_update(float learning_rate, int64_t step, const Tensor& loss);
  // Returns the last measured norm's square, f32 [1], or 0.
  const Tensor& norm_squared() const { return norm_squared_; }
  // Waits for what was started, and returns the last measured norm.
  float gradient_norm() const;
  // Makes updates change something again, which they do not behind one that was not finite.
  void go_on() { arena_.memory().zero(failed_.data, failed_.bytes()); }

  // Must be called whenever the moments were set. They come from another training of `steps` steps, which their bias
  // correction counts from then on. The moments of the parameters named in `fresh` are zero instead.
  void set_steps_before(int64_t steps, const std::vector<std::string>& fresh);

  // Returns the moments, which are all that a training goes on from beside the values.
  std::vector<StateTensor> state() const;
  // Returns one for each parameter, in the table's order.
  const std::vector<AdamWTensor>& tensors() const { return tensors_; }
  Parameters& parameters() const { return parameters_; }

 private:
  // The tensors of a group have moments of the same age.
  struct Group {
    int64_t steps_before = 0;
    Tensor factors;  // of the step that is being captured
    std::vector<AdamWTensor> tensors;
  };

  static size_t bytes_of(const Parameters& parameters);
  // Puts every tensor that is not frozen into a group. New tensors have moments of 0.
  void group_tensors(int64_t steps, const std::vector<std::string>& fresh);
  void mark_moments(const AdamWTensor& tensor);
  // Starts one update. A step that a device may capture reads what changes from step to step on the device.
  void update_groups(float learning_rate, int64_t step, const Tensor& loss, bool has_norm, bool is_captured);
  AdamWArgs arguments(const Group& group, float learning_rate, int64_t step) const;
  void zero_stale();  // zeroes gradients that were not written since the last update

  Ops& ops_;
  Parameters& parameters_;
  const TrainingConfig& config_;
  Arena arena_;
  std::vector<AdamWTensor> tensors_;
  std::array<Group, 2> groups_;             // set_steps_before fills the second
  std::vector<Tensor> gradients_, frozen_;  // gradients in the norm, and frozen ones to be zeroed
  std::vector<ClippedTensor> clipped_;      // the gradients in the norm where each is clipped by itself
  std::vector<const Parameter*> kept_;      // their gradients stay as they are, and become stale
  Tensor norm_squared_, failed_;
};

}  // namespace engine
