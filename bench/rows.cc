// Times operations over rows of activations: layernorm, embedding, activation, gather. The arguments are rows, columns,
// bf16, dropout. GB/s counts each byte that must be read or written once. GPT-2 is 1024 x 768, the small decoder
// 8192 x 256.
#include "bench/work.h"
#include "kernels/elementwise/activation_ref.h"
#include "kernels/norm/layernorm_ref.h"
#include "kernels/rows/embedding_ref.h"

namespace engine::bench {
namespace {

struct Shapes {
  int64_t rows, cols;
  DType dtype;
  Dropout dropout;
  double count, width;  // elements, bytes of one element

  explicit Shapes(const benchmark::State& state)
      : rows(state.range(0)), cols(state.range(1)), dtype(dtype_of_flag(state.range(2))),
        dropout{.rate = state.range(3) ? 0.1f : 0.0f}, count(static_cast<double>(rows * cols)),
        width(static_cast<double>(size_of(dtype))) {}
};

struct LayerNormWork : Work {
  LayerNormForwardArgs forward;
  LayerNormBackwardArgs backward;
  reference::LayerNorm<double> expected;

  explicit LayerNormWork(const Shapes& s) {
    const Shape shape{s.rows, s.cols};
    const Tensor gain = random(DType::f32, {s.cols}), mean = arena.make(DType::f32, {s.rows}),
                 rstd = arena.make(DType::f32, {s.rows});
    forward = {.x = random(s.dtype, shape),
               .residual = random(DType::f32, shape),
               .sum = random(DType::f32, shape),
               .gain = gain,
               .bias = random(DType::f32, {s.cols}),
               .y = random(s.dtype, shape),
               .mean = mean,
               .rstd = rstd,
               .dropout = s.dropout};
    backward = {.dy = random(s.dtype, shape),
                .sum = forward.sum,
                .mean = mean,
                .rstd = rstd,
                .gain = gain,
                .dsum = random(DType::f32, shape),
                .accumulate = true,
                .dx = random(s.dtype, shape),
                .dgain = arena.make_zeros(DType::f32, {s.cols}),
                .dbias = arena.make_zeros(DType::f32, {s.cols}),
                .dropout = s.dropout};
    expected.rows = static_cast<size_t>(s.rows);
    expected.cols = static_cast<size_t>(s.cols);
    expected.dropout = s.dropout;
    expected.x = values(forward.x);
    expected.residual = values(forward.residual);
    expected.gain = values(gain);
    expected.bias = values(forward.bias);
    expected.dy = values(backward.dy);
    expected.dsum = values(backward.dsum);
    expected.forward();
    expected.backward();
    ops->layernorm_forward(forward);
  }
};

void layernorm_forward(benchmark::State& state) {
  const Shapes s(state);
  LayerNormWork work(s);
  if (!proven(state, work.forward.y, work.expected.y, tolerance_of(s.dtype))) return;
  repeat(state, [&] { work.ops->layernorm_forward(work.forward); });
  rate(state, "GB/s", s.count * (8 + 2 * s.width));
}

void layernorm_backward(benchmark::State& state) {
  const Shapes s(state);
  LayerNormWork work(s);
  work.ops->layernorm_backward(work.backward);
  if (!proven(state, work.backward.dx, work.expected.dx, tolerance_of(s.dtype))) return;
  repeat(state, [&] { work.ops->layernorm_backward(work.backward); });
  rate(state, "GB/s", s.count * (12 + 2 * s.width));
}

struct EmbeddingWork : Work {
  EmbeddingForwardArgs forward;
  EmbeddingBackwardArgs backward;
  reference::Embedding<double> expected;

  explicit EmbeddingWork(const Shapes& s) {
    const int64_t vocabulary = s.cols == 768 ? 50257 : 64, longest = s.cols == 768 ? 1024 : 128;
    const Tensor tokens = indices(s.rows, vocabulary), positions = indices(s.rows, longest);
    forward = {.tokens = tokens,
               .positions = positions,
               .token_table = random(DType::f32, {vocabulary, s.cols}),
               .position_table = random(DType::f32, {longest, s.cols}),
               .y = random(s.dtype, {s.rows, s.cols}),
               .dropout = s.dropout};
    backward = {.tokens = tokens, .positions = positions, .dy = random(s.dtype, {s.rows, s.cols}),
                .dtoken_table = arena.make_zeros(DType::f32, {vocabulary, s.cols}),
                .dposition_table = arena.make_zeros(DType::f32, {longest, s.cols}), .dropout = s.dropout};
    expected.cols = static_cast<size_t>(s.cols);
    expected.dropout = s.dropout;
    expected.dy = values(backward.dy);
    for (const auto& [index, table] :
         {std::pair{tokens, forward.token_table}, std::pair{positions, forward.position_table}}) {
      const std::vector<double> rows = values(index);
      expected.tables.push_back(
          {{rows.begin(), rows.end()}, values(table), std::vector<double>(static_cast<size_t>(table.count()))});
    }
    expected.forward();
    expected.backward();
  }
};

void embedding_forward(benchmark::State& state) {
  const Shapes s(state);
  EmbeddingWork work(s);
  work.ops->embedding_forward(work.forward);
  if (!proven(state, work.forward.y, work.expected.y, tolerance_of(s.dtype))) return;
  repeat(state, [&] { work.ops->embedding_forward(work.forward); });
  rate(state, "GB/s", s.count * (8 + s.width));
}

void embedding_backward(benchmark::State& state) {
  const Shapes s(state);
  EmbeddingWork work(s);
  work.ops->embedding_backward(work.backward);
  if (!proven(state, work.backward.dtoken_table, work.expected.tables[0].gradient, tolerance_of(DType::f32))) return;
  repeat(state, [&] { work.ops->embedding_backward(work.backward); });
  rate(state, "GB/s", s.count * (16 + s.width));
}

template <Activation activation>
void activation_forward(benchmark::State& state) {
  const Shapes s(state);
  Work work;
  const Tensor x = work.random(s.dtype, {s.rows, s.cols}), y = work.random(s.dtype, {s.rows, s.cols});
  const ActivationForwardArgs args{.x = x, .y = y, .activation = activation};
  work.ops->activation_forward(args);
  if (!proven(state, y, reference::activation_forward(args.activation, values(x)), tolerance_of(s.dtype))) return;
  repeat(state, [&] { work.ops->activation_forward(args); });
  rate(state, "GB/s", s.count * 2 * s.width);
}

template <Activation activation>
void activation_backward(benchmark::State& state) {
  const Shapes s(state);
  Work work;
  const Tensor x = work.random(s.dtype, {s.rows, s.cols}), dy = work.random(s.dtype, {s.rows, s.cols});
  const ActivationBackwardArgs args{
      .x = x, .dy = dy, .dx = work.random(s.dtype, {s.rows, s.cols}), .activation = activation};
  work.ops->activation_backward(args);
  if (!proven(state, args.dx, reference::activation_backward(args.activation, values(x), values(dy)),
              tolerance_of(s.dtype)))
    return;
  repeat(state, [&] { work.ops->activation_backward(args); });
  rate(state, "GB/s", s.count * 3 * s.width);
}

void gather_rows(benchmark::State& state) {
  const Shapes s(state);
  Work work;
  const Tensor x = work.random(s.dtype, {s.rows, s.cols}), y = work.random(s.dtype, {s.rows, s.cols});
  const Tensor index = work.indices(s.rows, s.rows);
  work.ops->gather_rows({.x = x, .index = index, .y = y});
  const int64_t first = static_cast<int64_t>(values(index)[0]);
  if (!proven(state, y, values(x.row_range(first, first + 1)), 0)) return;
  repeat(state, [&] { work.ops->gather_rows({.x = x, .index = index, .y = y}); });
  rate(state, "GB/s", s.count * 2 * s.width);
}

void shapes(benchmark::internal::Benchmark* benchmark) {
  for (int dtype : {0, 1}) benchmark->Args({1024, 768, dtype, 0})->Args({8192, 256, dtype, 0});
}
void shapes_with_dropout(benchmark::internal::Benchmark* benchmark) {
  shapes(benchmark);
  benchmark->Args({1024, 768, 0, 1});
}

BENCHMARK(layernorm_forward)->Apply(shapes_with_dropout)->Unit(benchmark::kMicrosecond)->UseRealTime();
BENCHMARK(layernorm_backward)->Apply(shapes_with_dropout)->Unit(benchmark::kMicrosecond)->UseRealTime();
BENCHMARK(embedding_forward)->Apply(shapes_with_dropout)->Unit(benchmark::kMicrosecond)->UseRealTime();
BENCHMARK(embedding_backward)->Apply(shapes_with_dropout)->Unit(benchmark::kMicrosecond)->UseRealTime();
void activations(benchmark::internal::Benchmark* benchmark) {
  for (int dtype : {0, 1}) benchmark->Args({1024, 3072, dtype, 0})->Args({8192, 1024, dtype, 0});
  benchmark->Unit(benchmark::kMicrosecond)->UseRealTime();
}
BENCHMARK(activation_forward<Activation::gelu_tanh>)->Apply(activations)->Name("activation_forward");
BENCHMARK(activation_backward<Activation::gelu_tanh>)->Apply(activations)->Name("activation_backward");
BENCHMARK(activation_forward<Activation::silu>)->Apply(activations)->Name("silu_forward");
BENCHMARK(activation_backward<Activation::silu>)->Apply(activations)->Name("silu_backward");
BENCHMARK(gather_rows)->Apply(shapes)->Unit(benchmark::kMicrosecond)->UseRealTime();

}  // namespace
}  // namespace engine::bench
