#include "kernels/optimizer.h"

#include <algorithm>
#include <cmath>

#include "core/parallel.h"
#include "kernels/checks.h"
#include "kernels/cpu_ops.h"
#include "kernels/vector_loop.h"

namespace engine::ENGINE_ISA {
namespace {

constexpr int64_t piece_size = 16384;  // elements; with its seven streams a piece of AdamW stays within the cache

// A piece of one of many tensors.
struct Piece {
  int64_t tensor, begin, size;
};
struct Pieces {
  Piece* list;
  int64_t count;
};

// All tensors' pieces, in order; size_of(i) is the number of elements of tensor i.
template <class SizeOf>
Pieces cut(Arena& workspace, size_t tensors, const SizeOf& elements) {
  int64_t count = 0;
  for (size_t i = 0; i < tensors; ++i) count += (elements(i) + piece_size - 1) / piece_size;
  const Tensor memory = workspace.make(DType::u8, {count * static_cast<int64_t>(sizeof(Piece))});
  Piece* list = static_cast<Piece*>(memory.data);
  Piece* next = list;
  for (size_t i = 0; i < tensors; ++i)
    for (int64_t begin = 0; begin < elements(i); begin += piece_size)
      *next++ = {static_cast<int64_t>(i), begin, std::min(piece_size, elements(i) - begin)};
  return {list, count};
}

// The step's factors, which are the same for all elements of a tensor.
struct Factors {
  float clip, one_minus_beta1, beta2, one_minus_beta2, inverse_root_correction2, epsilon;
  double rate;          // learning_rate / (1 - beta1^step)
  double decay_rate;    // learning_rate * weight_decay
};

Factors factors_of(const AdamWArgs& args) {
  const double step = static_cast<double>(args.step);
  const double correction1 = 1 - std::pow(static_cast<double>(args.beta1), step);
  const double correction2 = 1 - std::pow(static_cast<double>(args.beta2), step);
  const double rate = static_cast<double>(args.learning_rate);
  double clip = 1;
  if (args.max_norm > 0) {
    const double norm = std::sqrt(static_cast<double>(args.norm_squared.as<float>()[0]));
    const double limit = static_cast<double>(args.max_norm);
    clip = norm <= limit ? 1 : limit / norm;  // a NaN stays one
  }
  return {.clip = static_cast<float>(clip),
          .one_minus_beta1 = static_cast<float>(1 - static_cast<double>(args.beta1)),
          .beta2 = args.beta2,
          .one_minus_beta2 = static_cast<float>(1 - static_cast<double>(args.beta2)),
          .inverse_root_correction2 = static_cast<float>(1 / std::sqrt(correction2)),
          .epsilon = args.epsilon,
          .rate = rate / correction1,
          .decay_rate = rate * static_cast<double>(args.weight_decay)};
}

ENGINE_INLINE vfloat square_root(vfloat v) {
#if defined(__AVX512F__)
  return reinterpret_cast<vfloat>(_mm512_maskz_sqrt_ps(0xFFFF, reinterpret_cast<__m512>(v)));
#else
  for (int i = 0; i < lanes; ++i) v[i] = std::sqrt(v[i]);
  return v;
#endif
}

void update(const AdamWTensor& tensor, const Factors& f, int64_t begin, int64_t size) {
  float* value = tensor.value.as<float>() + begin;
  float* gradient = tensor.gradient.as<float>() + begin;
  float* m = tensor.m.as<float>() + begin;
  float* v = tensor.v.as<float>() + begin;
  const double scale = static_cast<double>(tensor.learning_rate_scale);
  const float rate = static_cast<float>(f.rate * scale);
  const float keep = tensor.decays ? static_cast<float>(1 - f.decay_rate * scale) : 1.0f;
  each_vector(size, [&](int64_t i, auto part) {
    const vfloat g = load(gradient + i, part) * f.clip;
    const vfloat old_m = load(m + i, part);
    const vfloat new_m = old_m + f.one_minus_beta1 * (g - old_m);
    const vfloat new_v = f.beta2 * load(v + i, part) + f.one_minus_beta2 * (g * g);
    const vfloat denominator = square_root(new_v) * f.inverse_root_correction2 + f.epsilon;
    store(value + i, load(value + i, part) * keep - rate * (new_m / denominator), part);
    store(m + i, new_m, part);
    store(v + i, new_v, part);
    store(gradient + i, vfloat{}, part);
  });
}

}  // namespace

void CpuOps::adamw(const AdamWArgs& args) {
  const char* name = "adamw";
  require(args.step >= 1, name, ": step is ", args.step, ", and counts from 1");
  if (args.max_norm > 0) check_vector(name, "norm_squared", args.norm_squared, DType::f32, 1);
  for (const AdamWTensor& tensor : args.tensors) {
    const int64_t count = tensor.value.count();
    check_vector(name, "value", tensor.value, DType::f32, count);
    check_vector(name, "gradient", tensor.gradient, DType::f32, count);
    check_vector(name, "m", tensor.m, DType::f32, count);
    check_vector(name, "v", tensor.v, DType::f32, count);
  }
  ArenaScope scope(workspace_);
  const Pieces pieces = cut(workspace_, args.tensors.size(), [&](size_t i) { return args.tensors[i].value.count(); });
  const Factors factors = factors_of(args);
  parallel_for(pieces.count, [&](int64_t i) {
    const Piece& piece = pieces.list[i];
    update(args.tensors[static_cast<size_t>(piece.tensor)], factors, piece.begin, piece.size);
  });
}

void CpuOps::sum_of_squares(const SumOfSquaresArgs& args) {
  const char* name = "sum_of_squares";
  check_vector(name, "result", args.result, DType::f32, 1);
  for (const Tensor& tensor : args.tensors) check_vector(name, "a tensor", tensor, DType::f32, tensor.count());
  ArenaScope scope(workspace_);
  const Pieces pieces = cut(workspace_, args.tensors.size(), [&](size_t i) { return args.tensors[i].count(); });
  float* sums = workspace_.make(DType::f32, {pieces.count}).as<float>();
  parallel_for(pieces.count, [&](int64_t i) {
    const Piece& piece = pieces.list[i];
    const float* x = args.tensors[static_cast<size_t>(piece.tensor)].as<float>() + piece.begin;
    sums[i] = sum_over(piece.size, [&](int64_t at, auto part) {
      const vfloat value = load(x + at, part);
      return value * value;
    });
  });
  double total = 0;
  for (int64_t i = 0; i < pieces.count; ++i) total += static_cast<double>(sums[i]);
  args.result.as<float>()[0] = static_cast<float>(total);
}

}  // namespace engine::ENGINE_ISA
