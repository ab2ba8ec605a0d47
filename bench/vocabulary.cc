// Times operations over the vocabulary: the fused projection and cross entropy, sampling, and ranks.
#include "bench/work.h"
#include "kernels/losses/cross_entropy_ref.h"
#include "kernels/sampling/rank_ref.h"
#include "kernels/sampling/sampling_ref.h"

namespace engine::bench {
namespace {

// The arguments are rows, columns, tokens, bf16, gradient. GFLOP/s counts the matrix products, one without gradient and
// three with it.
void cross_entropy(benchmark::State& state) {
  const int64_t rows = state.range(0), cols = state.range(1), vocabulary = state.range(2);
  const DType dtype = dtype_of_flag(state.range(3));
  const bool gradient = state.range(4);
  Work work;
  const float scale = 1 / std::sqrt(static_cast<float>(cols));
  const Tensor losses = work.arena.make(DType::f32, {rows});
  CrossEntropyArgs args{.x = work.random(dtype, {rows, cols}),
                        .weight = work.random(DType::f32, {vocabulary, cols}, scale),
                        .labels = work.indices(rows, vocabulary),
                        .compute = dtype,
                        .totals = work.arena.make_zeros(DType::f32, {3}),
                        .row_losses = losses};
  if (gradient) {
    args.dx = work.random(dtype, {rows, cols});
    args.dweight = work.arena.make_zeros(DType::f32, {vocabulary, cols});
  }
  work.ops->cross_entropy(args);
  // Checks two rows in double, for all of them would take minutes.
  reference::CrossEntropy<double> expected;
  expected.rows = 2;
  expected.cols = static_cast<size_t>(cols);
  expected.vocabulary = static_cast<size_t>(vocabulary);
  expected.x = values(args.x.row_range(0, 2));
  expected.weight = values(args.weight);
  for (double label : values(args.labels)) expected.labels.push_back(static_cast<int32_t>(label));
  expected.labels.resize(2);
  expected.run();
  if (!proven(state, losses.reshaped({rows, 1}).row_range(0, 2), expected.row_losses, tolerance_of(dtype))) return;
  if (gradient && !proven(state, args.dx.row_range(0, 2), expected.dx, 2 * tolerance_of(dtype))) return;
  repeat(state, [&] { work.ops->cross_entropy(args); });
  rate(state, "GFLOP/s", static_cast<double>(rows * cols * vocabulary) * (gradient ? 6 : 2));
}

// The arguments are rows, tokens, top_k, top_p in hundredths, temperature in hundredths.
void sample(benchmark::State& state) {
  const int64_t rows = state.range(0), vocabulary = state.range(1);
  Work work;
  const Tensor logits = work.random(DType::f32, {rows, vocabulary}, 4), tokens = work.arena.make(DType::i32, {rows});
  const Tensor draws = work.filled(DType::f32, {rows}, [&] { return work.numbers.uniform(); });
  const SampleArgs args{.logits = logits,
                        .draws = draws,
                        .temperature = static_cast<float>(state.range(4)) / 100,
                        .top_k = static_cast<int>(state.range(2)),
                        .top_p = static_cast<float>(state.range(3)) / 100,
                        .tokens = tokens};
  work.ops->sample(args);
  const std::vector<double> weights =
      reference::sampling_weights(values(logits.row_range(0, 1)), static_cast<double>(args.temperature), args.top_k,
                                  static_cast<double>(args.top_p));
  const double draw = args.temperature > 0 ? values(draws)[0] : 0;
  if (!proven(state, tokens, {static_cast<double>(reference::draw_token(weights, draw))}, 0)) return;
  repeat(state, [&] { work.ops->sample(args); });
  rate(state, "GB/s", static_cast<double>(rows * vocabulary) * 4);
}

// The arguments are rows, tokens, bf16.
void rank(benchmark::State& state) {
  const int64_t rows = state.range(0), vocabulary = state.range(1);
  const DType dtype = dtype_of_flag(state.range(2));
  Work work;
  const Tensor ranks = work.arena.make(DType::i32, {rows});
  const RankArgs args{
      .logits = work.random(dtype, {rows, vocabulary}, 4), .tokens = work.indices(rows, vocabulary), .ranks = ranks};
  work.ops->rank(args);
  std::vector<double> expected;
  for (int64_t r = 0; r < rows; ++r)
    expected.push_back(reference::rank(values(args.logits.row_range(r, r + 1)),
                                       static_cast<size_t>(values(args.tokens)[static_cast<size_t>(r)])));
  if (!proven(state, ranks, expected, 0)) return;
  repeat(state, [&] { work.ops->rank(args); });
  rate(state, "GB/s", static_cast<double>(rows * vocabulary) * static_cast<double>(size_of(dtype)));
}

BENCHMARK(cross_entropy)
    ->Args({1024, 768, 50257, 0, 1})->Args({1024, 768, 50257, 1, 1})->Args({1024, 768, 50257, 1, 0})
    ->Args({2048, 768, 50257, 1, 1})
    ->Args({8192, 256, 64, 0, 1})->Args({8192, 256, 64, 1, 1})->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(sample)
    ->Args({1, 50257, 0, 100, 0})
    ->Args({1, 50257, 0, 100, 100})
    ->Args({1, 50257, 50, 100, 100})
    ->Args({1, 50257, 0, 90, 100})
    ->Args({64, 50257, 50, 90, 100})
    ->Args({64, 64, 0, 90, 100})
    ->Unit(benchmark::kMicrosecond)
    ->UseRealTime();
BENCHMARK(rank)
    ->Args({1, 50257, 0})->Args({1024, 50257, 0})->Args({1024, 50257, 1})
    ->Unit(benchmark::kMicrosecond)->UseRealTime();

}  // namespace
}  // namespace engine::bench
