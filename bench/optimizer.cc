// Times operations over all parameters: AdamW with clipping, sum of squares, clipping of each norm, lerp, cast. The
// arguments are tensors and elements of each.
#include "kernels/optimizer/optimizer.h"

#include "bench/work.h"
#include "kernels/elementwise/elementwise_ref.h"
#include "kernels/optimizer/optimizer_ref.h"

namespace engine::bench {
namespace {

struct Parameters : Work {
  std::vector<AdamWTensor> tensors;
  std::vector<Tensor> gradients;
  double count;
  Tensor norm_squared = arena.make(DType::f32, {1});

  explicit Parameters(const benchmark::State& state) : count(static_cast<double>(state.range(0) * state.range(1))) {
    const Shape shape{state.range(1)};
    for (int64_t i = 0; i < state.range(0); ++i) {
      tensors.push_back({.value = random(DType::f32, shape),
                         .gradient = random(DType::f32, shape),
                         .m = arena.make_zeros(DType::f32, shape),
                         .v = arena.make_zeros(DType::f32, shape),
                         .decays = true});
      gradients.push_back(tensors.back().gradient);
    }
  }
};

void adamw(benchmark::State& state) {
  Parameters work(state);
  work.ops->sum_of_squares({.tensors = work.gradients, .result = work.norm_squared});
  AdamWArgs args{.tensors = work.tensors, .learning_rate = 1e-3f, .beta1 = 0.9f, .beta2 = 0.95f, .epsilon = 1e-8f,
                 .weight_decay = 0.1f, .step = 1, .norm_squared = work.norm_squared, .max_norm = 1};
  const AdamWTensor& last = work.tensors.back();
  std::vector<double> value = values(last.value), gradient = values(last.gradient), m = values(last.m),
                      v = values(last.v);
  const reference::AdamW<double> expected{1e-3, 0.9, 0.95, 1e-8, 0.1, 1, values(work.norm_squared)[0], 1};
  expected.update(value, gradient, m, v, 1, true);
  work.ops->adamw(args);
  if (!proven(state, last.value, value, 1e-6)) return;
  repeat(state, [&] {
    ++args.step;
    work.ops->adamw(args);
  });
  rate(state, "GB/s", work.count * 32);
}

void sum_of_squares(benchmark::State& state) {
  Parameters work(state);
  const SumOfSquaresArgs args{.tensors = work.gradients, .result = work.norm_squared};
  work.ops->sum_of_squares(args);
  std::vector<std::vector<double>> all;
  for (const Tensor& gradient : work.gradients) all.push_back(values(gradient));
  if (!proven(state, work.norm_squared, {reference::sum_of_squares(all)}, 1e-6)) return;
  repeat(state, [&] { work.ops->sum_of_squares(args); });
  rate(state, "GB/s", work.count * 4);
}

// Times the reading alone, as where no gradient is too long.
void clip_norms(benchmark::State& state) {
  Parameters work(state);
  std::vector<ClippedTensor> tensors;
  std::vector<std::vector<double>> all;
  for (const Tensor& gradient : work.gradients) {
    tensors.push_back({gradient});
    all.push_back(values(gradient));
  }
  ClipNormsArgs args{.tensors = tensors, .max_norm = 1.01f, .result = work.norm_squared};
  work.ops->clip_norms(args);
  if (!proven(state, work.norm_squared, {reference::clip_norms(all, static_cast<double>(args.max_norm))}, 1e-6)) return;
  if (!proven(state, work.gradients.back(), all.back(), 1e-6)) return;
  args.max_norm = 1e9f;
  repeat(state, [&] { work.ops->clip_norms(args); });
  rate(state, "GB/s", work.count * 4);
}

void lerp(benchmark::State& state) {
  Work work;
  const Tensor x = work.random(DType::f32, {state.range(0)}), y = work.random(DType::f32, {state.range(0)});
  std::vector<double> expected = values(y);
  reference::lerp(values(x), 0.5, expected);
  work.ops->lerp({.x = x, .y = y, .t = 0.5f});
  if (!proven(state, y, expected, 1e-6)) return;
  repeat(state, [&] { work.ops->lerp({.x = x, .y = y, .t = 0.5f}); });
  rate(state, "GB/s", static_cast<double>(x.count()) * 12);
}

void cast(benchmark::State& state) {
  Work work;
  const Tensor x = work.random(DType::f32, {state.range(0)}), y = work.random(DType::bf16, {state.range(0)});
  work.ops->copy({.x = x, .y = y});
  if (!proven(state, y, values(x), 1e-2)) return;
  repeat(state, [&] { work.ops->copy({.x = x, .y = y}); });
  rate(state, "GB/s", static_cast<double>(x.count()) * 6);
}

BENCHMARK(adamw)
    ->Args({16, 2 << 20})
    ->Args({4000, 64})
    ->Args({50, 65536})
    ->Unit(benchmark::kMicrosecond)
    ->UseRealTime();
BENCHMARK(sum_of_squares)
    ->Args({16, 2 << 20})
    ->Args({4000, 64})
    ->Args({50, 65536})
    ->Unit(benchmark::kMicrosecond)
    ->UseRealTime();
BENCHMARK(clip_norms)
    ->Args({16, 2 << 20})
    ->Args({4000, 64})
    ->Args({50, 65536})
    ->Unit(benchmark::kMicrosecond)
    ->UseRealTime();
BENCHMARK(lerp)->Arg(16 << 20)->Unit(benchmark::kMicrosecond)->UseRealTime();
BENCHMARK(cast)->Arg(16 << 20)->Unit(benchmark::kMicrosecond)->UseRealTime();

}  // namespace
}  // namespace engine::bench
