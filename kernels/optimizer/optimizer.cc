#include "kernels/optimizer/optimizer.h"

#include <cmath>

#include "kernels/checks.h"

namespace engine {

void check_adamw(const AdamWArgs& args) {
  const char* name = "adamw";
  require(args.step >= 1, name, ": step is ", args.step, ", and counts from 1");
  if (args.max_norm > 0 || args.norm_squared) check_vector(name, "norm_squared", args.norm_squared, DType::f32, 1);
  if (args.loss) check_vector(name, "loss", args.loss, DType::f32, 1);
  if (args.failed) check_vector(name, "failed", args.failed, DType::i32, 1);
  if (args.factors) check_vector(name, "factors", args.factors, DType::u8, sizeof(AdamWFactors));
  for (const AdamWTensor& tensor : args.tensors) {
    const int64_t count = tensor.value.count();
    check_vector(name, "value", tensor.value, DType::f32, count);
    check_vector(name, "gradient", tensor.gradient, DType::f32, count);
    check_vector(name, "m", tensor.m, DType::f32, count);
    check_vector(name, "v", tensor.v, DType::f32, count);
    if (tensor.touched_blocks)
      check_vector(name, "touched_blocks", tensor.touched_blocks, DType::u8, TouchedBlocks::count(count));
    if (tensor.rounded) check_vector(name, "rounded", tensor.rounded, DType::bf16, count);
  }
}

void check_sum_of_squares(const SumOfSquaresArgs& args) {
  const char* name = "sum_of_squares";
  check_vector(name, "result", args.result, DType::f32, 1);
  for (const Tensor& tensor : args.tensors) check_vector(name, "a tensor", tensor, DType::f32, tensor.count());
}

void check_clip_norms(const ClipNormsArgs& args) {
  const char* name = "clip_norms";
  require(args.max_norm > 0, name, ": max_norm is ", args.max_norm, ", and must be above 0");
  check_vector(name, "result", args.result, DType::f32, 1);
  for (const ClippedTensor& tensor : args.tensors)
    check_vector(name, "gradient", tensor.gradient, DType::f32, tensor.gradient.count());
}

AdamWFactors adamw_factors(const AdamWArgs& args) {
  const double step = static_cast<double>(args.step), rate = static_cast<double>(args.learning_rate);
  const double correction1 = 1 - std::pow(static_cast<double>(args.beta1), step);
  const double correction2 = 1 - std::pow(static_cast<double>(args.beta2), step);
  return {.one_minus_beta1 = static_cast<float>(1 - static_cast<double>(args.beta1)),
          .beta2 = args.beta2,
          .one_minus_beta2 = static_cast<float>(1 - static_cast<double>(args.beta2)),
          .inverse_root_correction2 = static_cast<float>(1 / std::sqrt(correction2)),
          .epsilon = args.epsilon,
          .rate = rate / correction1,
          .decay_rate = rate * static_cast<double>(args.weight_decay)};
}

}  // namespace engine
