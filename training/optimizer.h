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
#include "training/gradient_norm.h"
#include "training/shards.h"

namespace engine {

// A StateTensor belongs to a parameter in the saved state of a training, such as a moment.
struct StateTensor {
  std::string kind;  // "m"
  const Parameter* parameter;
  Tensor tensor;          // f32, shaped as the parameter, or this rank's shard of it
  bool is_shard = false;  // the ranks' shards, one behind the other, are the whole
  int64_t begin = 0;      // elements of the parameter before the shard

  std::string name() const { return kind + "/" + parameter->name; }
};

class Optimizer {
 public:
  // compute is the precision of the products that read the parameters. ranks (optional) train together. Where they
  // share the optimizer's work (training.shard_optimizer), each has the moments of its shard alone, and all its calls
  // that clip, measure or update are made by all ranks.
  Optimizer(Ops& ops, Parameters& parameters, const TrainingConfig& config, DType compute,
            Communicator* ranks = nullptr);

  // Starts to sum a parameter's complete gradient over all ranks, or what this rank updates of it, unless the parameter
  // is frozen.
  void start_sum(const Parameter& parameter) const;
  // Does the same with the gradient's touched blocks alone.
  void start_sum_of_blocks(const Parameter& parameter) const;
  // Returns whether the parameter has no update.
  bool is_frozen(const Parameter& parameter) const { return tensors_[parameter.index].learning_rate_scale == 0; }
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
  const Shards& shards() const { return shards_; }
  Parameters& parameters() const { return parameters_; }

 private:
  // The tensors of a group have moments of the same age.
  struct Group {
    int64_t steps_before = 0;
    Tensor factors;  // of the step that is being captured
    std::vector<AdamWTensor> tensors;
  };

  size_t bytes() const;
  // Puts every tensor that is not frozen into a group. New tensors have moments of 0.
  void group_tensors(int64_t steps, const std::vector<std::string>& fresh);
  void mark_moments(const AdamWTensor& tensor);
  // Starts one update. A step that a device may capture reads what changes from step to step on the device.
  void update_groups(float learning_rate, int64_t step, const Tensor& loss, bool has_norm, bool is_captured);
  AdamWArgs arguments(const Group& group, float learning_rate, int64_t step) const;
  void zero_stale();  // zeroes gradients that were not written since the last update
  // Zeroes what the ranks' sums have left in a looked-up table's gradient beside this rank's shard.
  void zero_outside_shard(const Parameter& parameter);

  Ops& ops_;
  Parameters& parameters_;
  const TrainingConfig& config_;
  Communicator* ranks_;
  const Shards shards_;
  GradientNorm norm_;
  Arena arena_;
  std::vector<AdamWTensor> tensors_;
  std::array<Group, 2> groups_;             // set_steps_before fills the second
  std::vector<Tensor> frozen_;              // gradients to be zeroed
  std::vector<const Parameter*> kept_;      // their gradients stay as they are, and become stale
  Tensor norm_squared_, failed_;
};

}  // namespace engine
