// The GradientNorm is the norm of all gradients together, and clips each of them by its own. Where the parameters are
// cut into several parts (Shards), squares are summed part by part. So all ranks find the same norm, whichever rank has
// a part, and with training.reduction_shards any number of ranks finds its bits.
#pragma once

#include <vector>

#include "core/arena.h"
#include "kernels/ops.h"
#include "training/shards.h"

namespace engine {

class GradientNorm {
 public:
  // max_norm is that of each gradient by itself, 0: any. Shards and ranks (optional) outlive the norm.
  GradientNorm(Ops& ops, const Parameters& parameters, const Shards& shards, Communicator* ranks, float max_norm);

  // Adds a parameter whose gradient is in the norm.
  void add(const Parameter& parameter, const Tensor& gradient);
  // Scales each gradient whose norm is above max_norm down to that. Then starts to measure the norm of all together,
  // whose square goes to norm_squared, f32 [1]. It is not finite where any gradient is not. Where there are several
  // parts it waits for the device, and where they are divided for the other ranks.
  void clip_and_measure(const Tensor& norm_squared);
  // Returns whether a device may capture this as a part of a step.
  bool can_be_captured() const { return shards_.parts() == 1; }

 private:
  size_t bytes_of(const Parameters& parameters) const;
  std::vector<float> squares_of_parts();
  void scale(size_t gradient, float factor);

  Ops& ops_;
  const Shards& shards_;
  Communicator* ranks_;
  const float max_norm_;
  std::vector<Tensor> whole_;
  std::vector<ClippedTensor> clipped_;     // the same, where each is clipped by itself
  std::vector<std::vector<Tensor>> parts_; // [own parts][gradients]
  Arena arena_;
};

}  // namespace engine
