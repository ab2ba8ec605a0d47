#include "training/gradient_norm.h"

#include <algorithm>
#include <cmath>

#include "core/arena_room.h"

namespace engine {

GradientNorm::GradientNorm(Ops& ops, const Parameters& parameters, const Shards& shards, Communicator* ranks,
                           float max_norm)
    : ops_(ops),
      shards_(shards),
      ranks_(ranks),
      max_norm_(max_norm),
      parts_(static_cast<size_t>(shards.last_part() - shards.first_part())),
      arena_(ops.memory(), bytes_of(parameters)) {}

// Returns the bytes for all squares, and for a factor with a copy of the largest part of a gradient.
size_t GradientNorm::bytes_of(const Parameters& parameters) const {
  const size_t squares = parts_.size() * (max_norm_ > 0 ? parameters.size() : 1);
  size_t largest = 0;
  for (const Parameter& p : parameters.all())
    largest = std::max(largest, static_cast<size_t>(p.shape.count()) / static_cast<size_t>(shards_.parts()));
  largest += 2 * static_cast<size_t>(TouchedBlocks::block);
  return arena_room(sizeof(float) * squares) +
         (max_norm_ > 0 ? arena_room(sizeof(float)) + arena_room(sizeof(float) * largest) : 0);
}

void GradientNorm::add(const Parameter& parameter, const Tensor& gradient) {
  whole_.push_back(gradient);
  if (max_norm_ > 0) clipped_.push_back({gradient});
  for (size_t i = 0; i < parts_.size(); ++i)
    parts_[i].push_back(shards_.part(parameter, gradient, shards_.first_part() + static_cast<int64_t>(i)));
}

// Returns the sums of squares [parts of all ranks][gradients], or [parts of all ranks] where none is clipped by itself.
std::vector<float> GradientNorm::squares_of_parts() {
  const ArenaScope scope(arena_);
  const size_t of_each = max_norm_ > 0 ? whole_.size() : 1;
  const Tensor squares = arena_.make_zeros(DType::f32, {static_cast<int64_t>(parts_.size() * of_each)});
  for (size_t part = 0; part < parts_.size(); ++part)
    for (size_t i = 0; i < of_each; ++i) {
      const std::span<const Tensor> all = parts_[part];
      const auto at = static_cast<int64_t>(part * of_each + i);
      ops_.sum_of_squares({.tensors = max_norm_ > 0 ? all.subspan(i, 1) : all,
                           .result = Tensor{squares.as<float>() + at, DType::f32, {1}}});
    }
  std::vector<float> own(parts_.size() * of_each);
  ops_.memory().copy_out(own.data(), squares.data, squares.bytes());
  return shards_.is_divided() ? ranks_->gather(own) : own;
}

void GradientNorm::clip_and_measure(const Tensor& norm_squared) {
  if (shards_.parts() == 1) {
    if (clipped_.empty()) return ops_.sum_of_squares({.tensors = whole_, .result = norm_squared});
    return ops_.clip_norms({.tensors = clipped_, .max_norm = max_norm_, .result = norm_squared});
  }
  const std::vector<float> squares = squares_of_parts();
  const size_t of_each = max_norm_ > 0 ? whole_.size() : 1;
  const double limit = static_cast<double>(max_norm_);
  double total = 0;
  for (size_t i = 0; i < of_each; ++i) {
    double sum = 0;
    for (size_t at = i; at < squares.size(); at += of_each) sum += static_cast<double>(squares[at]);
    const double norm = std::sqrt(sum);
    if (limit > 0 && norm > limit && std::isfinite(norm)) {
      scale(i, static_cast<float>(limit / norm));
      sum = limit * limit;
    }
    total += sum;
  }
  const float result = static_cast<float>(total);
  ops_.memory().copy_in(norm_squared.data, &result, sizeof result);
}

// Scales this rank's parts of a gradient.
void GradientNorm::scale(size_t gradient, float factor) {
  for (const std::vector<Tensor>& part : parts_) {
    const Tensor& x = part[gradient];
    if (x.count() == 0) continue;
    const ArenaScope scope(arena_);
    const Tensor weight = arena_.make(DType::f32, {1}), scaled = arena_.make_zeros(DType::f32, x.shape);
    ops_.memory().copy_in(weight.data, &factor, sizeof factor);
    ops_.add_scaled_rows({.x = x, .y = scaled, .scale = {.weights = weight, .gate = Gate::relu}});
    ops_.copy({.x = scaled, .y = x});
  }
}

}  // namespace engine
