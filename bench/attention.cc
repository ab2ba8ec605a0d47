// Times attention at the shapes that the models here run. The arguments are sequences, heads, keys a sequence, D,
// causal (0 full, 1 causal, 2 full with lengths from half of that to all of it, 3 one query a sequence, 4 the last 16
// queries, causal, whose gradients of keys are added, 5 as many queries as three quarters of the keys), bf16. Rates
// count the products of visible scores. Those of rotary are rows, heads of q and k together, D, turned dimensions,
// bf16.
#include "bench/work.h"
#include "kernels/attention/rotary_ref.h"

namespace engine::bench {
namespace {

enum Kind { full, causal, ragged, decode, piece, cross };

struct Problem : Work {
  AttentionForwardArgs forward;
  AttentionBackwardArgs backward;
  double scores = 0;  // visible scores of all heads

  explicit Problem(const benchmark::State& state) {
    const int64_t sequences = state.range(0), heads = state.range(1), length = state.range(2),
                  width = heads * state.range(3);
    const Kind kind = static_cast<Kind>(state.range(4));
    const DType dtype = state.range(5) ? DType::bf16 : DType::f32;
    std::vector<int32_t> of_keys, of_queries;
    int64_t keys = 0, rows = 0;
    for (int64_t s = 0; s <= sequences; ++s) {
      of_keys.push_back(static_cast<int32_t>(keys));
      of_queries.push_back(static_cast<int32_t>(rows));
      if (s == sequences) break;
      const int64_t n = kind == ragged ? length / 2 + s * 7 % (length / 2 + 1) : length;
      const int64_t queries = kind == decode ? 1 : kind == piece ? 16 : kind == cross ? n * 3 / 4 : n;
      keys += n;
      rows += queries;
      const int64_t unseen = kind == causal || kind == piece ? queries * (queries - 1) / 2 : 0;
      scores += static_cast<double>(heads * (queries * n - unseen));
    }
    const Tensor fused = random(dtype, {keys, 3 * width}), gradient = random(dtype, {keys, 3 * width});
    const Tensor apart = random(dtype, {rows, width}), dapart = random(dtype, {rows, width});
    const bool is_self = kind < decode;
    const int64_t longest = kind == decode ? 1 : kind == piece ? 16 : length;
    const Segments of_k = Segments::packed(integers(of_keys), length),
                   of_q = is_self ? of_k : Segments::packed(integers(of_queries), longest);
    const Tensor y = random(dtype, {rows, width}), lse = arena.make(DType::f32, {rows, heads});
    forward = {.q = is_self ? Columns(fused, 0, width) : Columns(apart),
               .k = {fused, width, width},
               .v = {fused, 2 * width, width},
               .heads = static_cast<int>(heads),
               .queries = of_q,
               .keys = of_k,
               .causal = kind == causal || kind == decode || kind == piece,
               .scale = 1 / std::sqrt(static_cast<float>(state.range(3))),
               .y = y,
               .lse = kind == decode ? Tensor{} : lse};
    if (kind != decode) {
      const Tensor sums = kind == piece ? random(DType::f32, {keys, 2 * width}) : gradient;
      backward = {.q = forward.q,
                  .k = forward.k,
                  .v = forward.v,
                  .heads = forward.heads,
                  .queries = of_q,
                  .keys = of_k,
                  .causal = forward.causal,
                  .scale = forward.scale,
                  .y = y,
                  .dy = random(dtype, {rows, width}),
                  .lse = lse,
                  .dq = is_self ? Columns(gradient, 0, width) : Columns(dapart),
                  .dk = {sums, sums.cols() - 2 * width, width},
                  .dv = {sums, sums.cols() - width, width},
                  .adds_to_keys = kind == piece};
    }
    ops->attention_forward(forward);
  }
};

void report(benchmark::State& state, double products, const Problem& problem) {
  state.counters["GFLOP/s"] =
      benchmark::Counter(products * 2 * problem.scores * static_cast<double>(state.range(3)) * 1e-9,
                         benchmark::Counter::kIsIterationInvariantRate);
  if (state.range(4) == decode)
    state.counters["GB/s"] =
        benchmark::Counter(problem.scores * 2 * static_cast<double>(state.range(3) * (state.range(5) ? 2 : 4)) * 1e-9,
                           benchmark::Counter::kIsIterationInvariantRate);
}

void attention_forward(benchmark::State& state) {
  Problem problem(state);
  repeat(state, [&] { problem.ops->attention_forward(problem.forward); });
  report(state, 2, problem);
}

void attention_backward(benchmark::State& state) {
  Problem problem(state);
  repeat(state, [&] { problem.ops->attention_backward(problem.backward); });
  report(state, 5, problem);
}

void rotary(benchmark::State& state) {
  const int64_t rows = state.range(0), heads = state.range(1), head = state.range(2), dims = state.range(3);
  const DType dtype = dtype_of_flag(state.range(4));
  constexpr int64_t longest = 1024;
  Work work;
  std::vector<float> angles(static_cast<size_t>(longest * dims));
  rotary_table(angles.data(), longest, dims, 10000);
  size_t i = 0;
  const Tensor table = work.filled(DType::f32, {longest, dims}, [&] { return angles[i++]; });
  const Tensor x = work.random(dtype, {rows, heads * head * 3 / 2}), positions = work.indices(rows, longest);
  const RotaryArgs args{.x = {x, 0, heads * head}, .positions = positions, .table = table, .heads = heads};
  reference::Rotary<double> expected{.cols = static_cast<size_t>(x.cols()),
                                     .heads = static_cast<size_t>(heads),
                                     .head_width = static_cast<size_t>(head),
                                     .dims = static_cast<size_t>(dims)};
  for (const double position : values(positions)) expected.positions.push_back(static_cast<int>(position));
  std::vector<double> turned = values(x);
  expected.turn(turned);
  work.ops->rotary(args);
  if (!proven(state, x, turned, dtype == DType::bf16 ? 1e-2 : 1e-3)) return;
  repeat(state, [&] { work.ops->rotary(args); });
  rate(state, "GB/s", static_cast<double>(rows * heads * dims) * 2 * static_cast<double>(size_of(dtype)));
}

void training_shapes(benchmark::internal::Benchmark* benchmark) {
  for (int dtype : {0, 1}) {
    benchmark->Args({64, 8, 128, 32, causal, dtype});  // the small decoder
    benchmark->Args({4, 12, 256, 64, causal, dtype});  // GPT-2
    benchmark->Args({2, 12, 1024, 64, causal, dtype});
    benchmark->Args({32, 12, 128, 32, full, dtype});  // MiniLM
    benchmark->Args({8, 12, 384, 32, full, dtype});
    benchmark->Args({32, 12, 40, 32, ragged, dtype});  // SST-2's sentences
    benchmark->Args({32, 12, 16, 32, ragged, dtype});  // and the phrases that it trains on
    benchmark->Args({48, 4, 40, 32, causal, dtype});   // the arithmetic decoder
    benchmark->Args({24, 8, 264, 32, piece, dtype});   // rows with thoughts, piece by piece
    benchmark->Args({24, 12, 512, 64, piece, dtype});
    benchmark->Args({64, 8, 40, 32, cross, dtype});    // BART's decoders
  }
}
void decoding_shapes(benchmark::internal::Benchmark* benchmark) {
  for (int dtype : {0, 1}) {
    benchmark->Args({1, 12, 256, 64, decode, dtype});
    benchmark->Args({1, 12, 1024, 64, decode, dtype});
    benchmark->Args({64, 8, 128, 32, decode, dtype});
  }
}

BENCHMARK(attention_forward)
    ->Apply(training_shapes)
    ->Apply(decoding_shapes)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
void rotary_shapes(benchmark::internal::Benchmark* benchmark) {
  for (int dtype : {0, 1})
    for (int dims : {16, 64}) benchmark->Args({1024, 24, 64, dims, dtype});  // Pythia 160M, a quarter and all of a head
}

BENCHMARK(rotary)->Apply(rotary_shapes)->Unit(benchmark::kMicrosecond)->UseRealTime();
BENCHMARK(attention_backward)->Apply(training_shapes)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace engine::bench
