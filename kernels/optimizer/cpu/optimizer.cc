#include "kernels/optimizer/optimizer.h"

#include <algorithm>
#include <cmath>

#include "core/parallel.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/vector_loop.h"

namespace engine::ENGINE_ISA {
namespace {

constexpr int64_t piece_size = 16384;  // elements; a piece's seven streams stay in the cache

// A piece of one of many tensors.
struct Piece {
  int64_t tensor, begin, size;
};
struct Pieces {
  Piece* list;
  int64_t count;
};

// Lists the pieces of all tensors in order. size_of(i) is the number of elements of tensor i.
template <class SizeOf>
Pieces pieces_of(Arena& workspace, size_t tensors, const SizeOf& elements) {
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

// Returns the factor of the gradients that brings their norm to at most max_norm.
float clipping(const AdamWArgs& args) {
  if (!(args.max_norm > 0)) return 1;
  const double norm = std::sqrt(static_cast<double>(args.norm_squared.as<float>()[0]));
  const double limit = static_cast<double>(args.max_norm);
  return static_cast<float>(norm <= limit ? 1 : limit / norm);
}

// Returns whether the step changes nothing, and tells the steps behind it.
bool is_left_out(const AdamWArgs& args) {
  const auto is_finite = [](const Tensor& number) { return !number || std::isfinite(number.as<float>()[0]); };
  const bool is_step = is_finite(args.norm_squared) && is_finite(args.loss);
  if (!args.failed) return !is_step;
  if (!is_step) *args.failed.as<int32_t>() = 1;
  return *args.failed.as<int32_t>() != 0;
}

ENGINE_INLINE vfloat square_root(vfloat v) {
#if defined(__AVX512F__)
  return reinterpret_cast<vfloat>(_mm512_maskz_sqrt_ps(0xFFFF, reinterpret_cast<__m512>(v)));
#else
  for (int i = 0; i < lanes; ++i) v[i] = std::sqrt(v[i]);
  return v;
#endif
}

// Elements are fetched so far ahead, for the processor's own prefetcher keeps too few lines on their way.
constexpr int64_t ahead = 512;

// Holds the arrays of one tensor from some element on, and the factors of its update.
struct Update {
  float *value, *gradient, *m, *v;
  bf16* rounded;  // may be null
  float clip, keep, rate;
  const AdamWFactors f;

  Update(const AdamWTensor& t, const AdamWFactors& factors, float clip_, int64_t begin)
      : value(t.value.as<float>() + begin),
        gradient(t.gradient.as<float>() + begin),
        m(t.m.as<float>() + begin),
        v(t.v.as<float>() + begin),
        rounded(t.rounded ? t.rounded.as<bf16>() + begin : nullptr),
        clip(clip_),
        keep(factors.keep_of(t.learning_rate_scale, t.decays)),
        rate(factors.rate_of(t.learning_rate_scale)),
        f(factors) {}

  // Updates the elements begin ... end-1. Without has_gradient the gradient is known to be 0 and is not read.
  template <bool has_gradient, bool clears = has_gradient>
  void run(int64_t begin, int64_t end) const {
    each_vector(end - begin, [&](int64_t offset, auto part) {
      const int64_t i = begin + offset;
      for (const float* stream : {value, m, v}) __builtin_prefetch(stream + i + ahead, 1);
      if constexpr (has_gradient) __builtin_prefetch(gradient + i + ahead, 1);
      vfloat g{};
      if constexpr (has_gradient) g = load(gradient + i, part) * clip;
      const vfloat old_m = load(m + i, part);
      const vfloat new_m = old_m + f.one_minus_beta1 * (g - old_m);
      const vfloat new_v = f.beta2 * load(v + i, part) + f.one_minus_beta2 * (g * g);
      const vfloat denominator = square_root(new_v) * f.inverse_root_correction2 + f.epsilon;
      put(i, load(value + i, part) * keep - rate * (new_m / denominator), part);
      store(m + i, new_m, part);
      store(v + i, new_v, part);
      if constexpr (clears) store(gradient + i, vfloat{}, part);
    });
  }
  // Updates elements whose gradient, m and v are 0.
  void decay(int64_t begin, int64_t end) const {
    if (keep == 1) return;
    each_vector(end - begin, [&](int64_t offset, auto part) {
      const int64_t i = begin + offset;
      __builtin_prefetch(value + i + ahead, 1);
      put(i, load(value + i, part) * keep, part);
    });
  }

 private:
  template <class Lanes>
  ENGINE_INLINE void put(int64_t i, vfloat new_value, Lanes part) const {
    store(value + i, new_value, part);
    if (rounded) store(rounded + i, new_value, part);
  }
};

void update(const AdamWTensor& tensor, const AdamWFactors& factors, float clip, int64_t begin, int64_t size) {
  const Update update(tensor, factors, clip, begin);
  if (tensor.keeps_gradient) return update.run<true, false>(0, size);
  if (!tensor.touched_blocks) return update.run<true>(0, size);
  uint8_t* touched = tensor.touched_blocks.as<uint8_t>() + begin / TouchedBlocks::block;
  for (int64_t i = 0; i < size; i += TouchedBlocks::block, ++touched) {
    const int64_t end = std::min(i + TouchedBlocks::block, size);
    if (*touched & TouchedBlocks::gradient) {
      update.run<true>(i, end);
      *touched = TouchedBlocks::moments;
    } else {
      *touched ? update.run<false>(i, end) : update.decay(i, end);
    }
  }
}

// Returns the sum of squares of each piece of tensor_of(i).
template <class TensorOf>
const float* squares_of(Arena& workspace, const Pieces& pieces, const TensorOf& tensor_of) {
  float* sums = workspace.make(DType::f32, {pieces.count}).template as<float>();
  parallel_for(pieces.count, [&](int64_t i) {
    const Piece& piece = pieces.list[i];
    const float* x = tensor_of(static_cast<size_t>(piece.tensor)).template as<float>() + piece.begin;
    sums[i] = sum_over(piece.size, [&](int64_t at, auto part) {
      const vfloat value = load(x + at, part);
      return value * value;
    });
  });
  return sums;
}

}  // namespace

void CpuOps::adamw(const AdamWArgs& args) {
  check_adamw(args);
  if (is_left_out(args)) return;
  ArenaScope scope(workspace_);
  const Pieces pieces =
      pieces_of(workspace_, args.tensors.size(), [&](size_t i) { return args.tensors[i].value.count(); });
  const AdamWFactors factors = adamw_factors(args);
  const float clip = clipping(args);
  parallel_for(pieces.count, [&](int64_t i) {
    const Piece& piece = pieces.list[i];
    update(args.tensors[static_cast<size_t>(piece.tensor)], factors, clip, piece.begin, piece.size);
  });
}

void CpuOps::sum_of_squares(const SumOfSquaresArgs& args) {
  check_sum_of_squares(args);
  ArenaScope scope(workspace_);
  const Pieces pieces = pieces_of(workspace_, args.tensors.size(), [&](size_t i) { return args.tensors[i].count(); });
  const float* sums = squares_of(workspace_, pieces, [&](size_t i) -> const Tensor& { return args.tensors[i]; });
  double total = 0;
  for (int64_t i = 0; i < pieces.count; ++i) total += static_cast<double>(sums[i]);
  args.result.as<float>()[0] = static_cast<float>(total);
}

void CpuOps::clip_norms(const ClipNormsArgs& args) {
  check_clip_norms(args);
  ArenaScope scope(workspace_);
  const auto gradient = [&](size_t i) -> const Tensor& { return args.tensors[i].gradient; };
  const Pieces pieces = pieces_of(workspace_, args.tensors.size(), [&](size_t i) { return gradient(i).count(); });
  const float* sums = squares_of(workspace_, pieces, gradient);
  float* factors = workspace_.make(DType::f32, {static_cast<int64_t>(args.tensors.size())}).as<float>();
  const double limit = static_cast<double>(args.max_norm);
  double remaining = 0;
  int64_t next = 0;
  for (size_t tensor = 0; tensor < args.tensors.size(); ++tensor) {
    double squares = 0;
    for (; next < pieces.count && pieces.list[next].tensor == static_cast<int64_t>(tensor); ++next)
      squares += static_cast<double>(sums[next]);
    const double norm = std::sqrt(squares);
    const bool is_clipped = norm > limit && std::isfinite(norm);
    factors[tensor] = is_clipped ? static_cast<float>(limit / norm) : 1.0f;
    remaining += is_clipped ? limit * limit : squares;
  }
  args.result.as<float>()[0] = static_cast<float>(remaining);
  parallel_for(pieces.count, [&](int64_t i) {
    const Piece& piece = pieces.list[i];
    const float factor = factors[piece.tensor];
    if (factor == 1) return;
    float* x = gradient(static_cast<size_t>(piece.tensor)).as<float>() + piece.begin;
    each_vector(piece.size, [&](int64_t at, auto part) { store(x + at, load(x + at, part) * factor, part); });
  });
}

}  // namespace engine::ENGINE_ISA
