// Times matrix products, ours and oneDNN's, on the shapes of training and generation. Each answer is checked before it
// is timed. Where a processor changes its speed from moment to moment, run with
// --benchmark_enable_random_interleaving=true --benchmark_repetitions=5 and compare medians.
#include <dnnl.hpp>
#include <unordered_map>

#include "bench/work.h"

namespace engine::bench {

namespace {

// The products of a linear layer y [M, O] = x [M, I] w^T are its forward pass, the same with w packed before,
// dx = dy w, and dw += dy^T x.
enum class Form { forward, packed, dx, dw };

struct Shape3 {
  const char* name;
  int64_t M, I, O;
};

struct Product {
  int64_t M, N, K;
  bool transpose_a, transpose_b, packed, accumulate;
};

Product product_of(Form form, const Shape3& s) {
  switch (form) {
    case Form::forward: return {s.M, s.O, s.I, false, true, false, false};
    case Form::packed: return {s.M, s.O, s.I, false, true, true, false};
    case Form::dx: return {s.M, s.I, s.O, false, false, false, false};
    case Form::dw: return {s.O, s.I, s.M, true, false, false, true};
  }
  fail("no such form");
}

struct Operands {
  Tensor a, b, c;
};

struct Fixture : Work {
  Tensor uniform(DType dtype, Shape shape) {
    return filled(dtype, shape, [&] { return numbers.uniform() - 0.5f; });
  }
  // As in training, activations and results have the compute precision, and weights and their gradients are f32.
  Operands make(const Product& p, Form form, DType compute, bool library) {
    const DType b = library || form == Form::dw ? compute : DType::f32;
    return {uniform(compute, p.transpose_a ? Shape{p.K, p.M} : Shape{p.M, p.K}),
            uniform(b, p.transpose_b ? Shape{p.N, p.K} : Shape{p.K, p.N}),
            arena.make_zeros(form == Form::dw ? DType::f32 : compute, {p.M, p.N})};
  }
};

Fixture& fixture() {
  static Fixture fixture;
  return fixture;
}

// Compares a few elements of c with sums in double. Operands and results of bf16 are good to 2^-8 of their size, which
// for K products of numbers below 1/2 is at most sqrt(K) / 4.
bool is_right(const Product& p, const Operands& t, DType compute) {
  const double tolerance = std::sqrt(static_cast<double>(p.K)) / 4 * (compute == DType::bf16 ? 0x1p-7 : 0x1p-18);
  const std::vector<double> a = values(t.a), b = values(t.b), c = values(t.c);
  const auto at = [](const std::vector<double>& matrix, int64_t i) { return matrix[static_cast<size_t>(i)]; };
  for (int64_t sample = 0; sample < 17; ++sample) {
    const int64_t i = (p.M - 1) * sample / 16, j = (p.N - 1) * (16 - sample) / 16;
    double sum = 0;
    for (int64_t k = 0; k < p.K; ++k)
      sum += at(a, p.transpose_a ? k * p.M + i : i * p.K + k) * at(b, p.transpose_b ? j * p.K + k : k * p.N + j);
    if (!(std::abs(at(c, i * p.N + j) - sum) <= tolerance)) return false;
  }
  return true;
}

void report(benchmark::State& state, const Product& p) {
  const double flop = 2.0 * static_cast<double>(p.M) * static_cast<double>(p.N) * static_cast<double>(p.K);
  state.counters["GFLOP/s"] = benchmark::Counter(flop * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

void ours(benchmark::State& state, Form form, const Shape3& shape, DType compute) {
  ArenaScope scope(fixture().arena);
  const Product p = product_of(form, shape);
  const Operands t = fixture().make(p, form, compute, false);
  Ops& ops = *fixture().ops;
  MatmulArgs args{.a = t.a,
                  .b = t.b,
                  .c = t.c,
                  .transpose_a = p.transpose_a,
                  .transpose_b = p.transpose_b,
                  .accumulate = p.accumulate,
                  .compute = compute};
  if (p.packed) {
    args.packed_b = fixture().arena.make(DType::u8, {static_cast<int64_t>(ops.packed_bytes(p.K, p.N, compute))});
    ops.pack_matrix({.b = t.b, .transpose_b = p.transpose_b, .compute = compute, .packed = args.packed_b});
  }
  ops.matmul(args);
  if (!is_right(p, t, compute)) return state.SkipWithError("the answer is wrong");
  repeat(state, [&] { ops.matmul(args); });
  report(state, p);
}

// oneDNN gets bf16 weights that are converted before. `packed` gives it the layout that it asks for.
void library(benchmark::State& state, Form form, const Shape3& shape, DType compute) {
  using Memory = dnnl::memory;
  if (device() != "cpu") return state.SkipWithError("oneDNN is compared with on the CPU");
  ArenaScope scope(fixture().arena);
  const Product p = product_of(form, shape);
  const Operands t = fixture().make(p, form, compute, true);
  static const dnnl::engine processor(dnnl::engine::kind::cpu, 0);
  static dnnl::stream stream(processor);
  const auto type = [](DType dtype) { return dtype == DType::bf16 ? Memory::data_type::bf16 : Memory::data_type::f32; };
  const auto tag = [](bool transposed) { return transposed ? Memory::format_tag::ba : Memory::format_tag::ab; };
  const Memory::desc a({p.M, p.K}, type(compute), tag(p.transpose_a)), b({p.K, p.N}, type(compute), tag(p.transpose_b));
  const Memory::desc any({p.K, p.N}, type(compute), Memory::format_tag::any);
  const Memory::desc c({p.M, p.N}, type(t.c.dtype), Memory::format_tag::ab);
  dnnl::primitive_attr attributes;
  dnnl::post_ops sums;
  sums.append_sum(1.0f);
  if (p.accumulate) attributes.set_post_ops(sums);
  const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(a, p.packed ? any : b, c), attributes, processor);
  Memory given(b, processor, t.b.data);
  Memory weights = given;
  if (p.packed) {
    weights = Memory(description.weights_desc(), processor);
    dnnl::reorder(given, weights).execute(stream, given, weights);
  }
  const dnnl::matmul matmul(description);
  const std::unordered_map<int, Memory> arguments{{DNNL_ARG_SRC, Memory(a, processor, t.a.data)},
                                                  {DNNL_ARG_WEIGHTS, weights},
                                                  {DNNL_ARG_DST, Memory(c, processor, t.c.data)}};
  const auto run = [&] {
    matmul.execute(stream, arguments);
    stream.wait();
  };
  run();
  if (!is_right(p, t, compute)) return state.SkipWithError("the answer is wrong");
  for (auto _ : state) run();
  report(state, p);
}

const bool registered = [] {
  static constexpr Shape3 shapes[] = {
      {"gpt2_qkv", 1024, 768, 2304},     {"gpt2_proj", 1024, 768, 768},   {"gpt2_up", 1024, 768, 3072},
      {"gpt2_down", 1024, 3072, 768},    {"small_qkv", 8192, 256, 768},   {"small_proj", 8192, 256, 256},
      {"small_up", 8192, 256, 1024},     {"small_down", 8192, 1024, 256}, {"small_head", 8192, 256, 64},
      {"minilm_qkv", 4096, 384, 1152},   {"minilm_down", 4096, 1536, 384}, {"arithmetic_up", 2000, 128, 512},
      {"gpt2_head", 256, 768, 50257},    {"generate_64", 64, 256, 1024},   {"generate_1", 1, 768, 3072}};
  static constexpr const char* forms[] = {"forward", "packed", "dx", "dw"};
  for (DType compute : {DType::f32, DType::bf16})
    for (const Shape3& shape : shapes)
      for (int form = 0; form < 4; ++form) {
        const std::string name = std::string("/") + name_of(compute) + "/" + shape.name + "/" + forms[form];
        benchmark::RegisterBenchmark(("matmul" + name).c_str(), ours, static_cast<Form>(form), shape, compute)
            ->UseRealTime();
        benchmark::RegisterBenchmark(("onednn" + name).c_str(), library, static_cast<Form>(form), shape, compute)
            ->UseRealTime();
      }
  return true;
}();

}  // namespace

}  // namespace engine::bench
