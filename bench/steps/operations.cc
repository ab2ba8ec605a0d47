#include "bench/steps/operations.h"

#include "core/arena.h"

namespace engine {
namespace {

// The sizes of a step of GPT-2 124M in bf16, and usual numbers of rows that are gathered, distilled or drawn.
constexpr int64_t sequences = 8, length = 1024, tokens = sequences * length, width = 768, wide = 3072, heads = 12;
constexpr int64_t vocabulary = 50257, scored = 1024, drawn = 64, parameters = 124439808;

class EveryOperation {
  using enum DType;

 public:
  explicit EveryOperation(Ops& ops) : ops_(ops) {}

  void run() {
    products();
    blocks();
    attention();
    lstm();
    losses();
    rows();
    generation();
    optimizer();
  }

 private:
  Tensor make(DType dtype, Shape shape) { return arena_.make(dtype, shape); }
  Tensor stream() { return make(f32, {tokens, width}); }   // residual stream or its gradient
  Tensor hidden() { return make(bf16, {tokens, width}); }  // activation inside a block
  Segments packed() {
    const Tensor offsets = make(i32, {sequences + 1});
    for (int64_t s = 0; s <= sequences; ++s) offsets.as<int32_t>()[s] = static_cast<int32_t>(s * length);
    return Segments::packed(offsets, length);
  }

  void products() {
    ops_.matmul({.a = hidden(),
                 .b = make(bf16, {wide, width}),
                 .c = make(bf16, {tokens, wide}),
                 .transpose_b = true,
                 .compute = bf16,
                 .bias = make(f32, {wide}),
                 .activation = Activation::gelu_tanh,
                 .before_activation = make(bf16, {tokens, wide})});
    ops_.pack_matrix({.b = make(f32, {wide, width}),
                      .transpose_b = true,
                      .compute = bf16,
                      .packed = make(u8, {static_cast<int64_t>(ops_.packed_bytes(width, wide, bf16))})});
  }

  void blocks() {
    const Tensor x = make(bf16, {tokens, wide}), gain = make(f32, {width}), statistics = make(f32, {tokens});
    ops_.activation_forward({.x = x, .y = make(bf16, {tokens, wide}), .activation = Activation::gelu_tanh});
    ops_.activation_backward({.x = x,
                              .dy = make(bf16, {tokens, wide}),
                              .dx = make(bf16, {tokens, wide}),
                              .activation = Activation::gelu_tanh});
    ops_.layernorm_forward({.x = hidden(),
                            .residual = stream(),
                            .sum = stream(),
                            .gain = gain,
                            .bias = gain,
                            .y = hidden(),
                            .mean = statistics,
                            .rstd = statistics});
    ops_.layernorm_backward({.dy = hidden(),
                             .sum = stream(),
                             .mean = statistics,
                             .rstd = statistics,
                             .gain = gain,
                             .dsum = stream(),
                             .accumulate = true,
                             .dx = hidden(),
                             .dgain = gain,
                             .dbias = gain});
    const Tensor names = make(i32, {tokens}), table = make(f32, {vocabulary, width}),
                 places = make(f32, {length, width});
    ops_.embedding_forward(
        {.tokens = names, .positions = names, .token_table = table, .position_table = places, .y = stream()});
    ops_.embedding_backward(
        {.tokens = names, .positions = names, .dy = stream(), .dtoken_table = table, .dposition_table = places});
    ops_.dropout({.x = hidden(), .residual = stream(), .y = stream(), .dropout = {.rate = 0.1f}});
  }

  void attention() {
    const Tensor qkv = make(bf16, {tokens, 3 * width}), gradient = make(bf16, {tokens, 3 * width}), y = hidden(),
                 lse = make(f32, {tokens, heads});
    const auto columns = [](const Tensor& of, int64_t part) { return Columns(of, part * width, width); };
    ops_.attention_forward({.q = columns(qkv, 0),
                            .k = columns(qkv, 1),
                            .v = columns(qkv, 2),
                            .heads = heads,
                            .queries = packed(),
                            .keys = packed(),
                            .causal = true,
                            .y = y,
                            .lse = lse});
    ops_.rotary({.x = {qkv, 0, 2 * width},
                 .positions = make(i32, {tokens}),
                 .table = make(f32, {length, width / heads / 4}),
                 .heads = 2 * heads});
    ops_.attention_backward({.q = columns(qkv, 0),
                             .k = columns(qkv, 1),
                             .v = columns(qkv, 2),
                             .heads = heads,
                             .queries = packed(),
                             .keys = packed(),
                             .causal = true,
                             .y = y,
                             .dy = hidden(),
                             .lse = lse,
                             .dq = columns(gradient, 0),
                             .dk = columns(gradient, 1),
                             .dv = columns(gradient, 2)});
  }

  void lstm() {
    const Tensor gates = make(bf16, {tokens, 4 * width}), weight = make(bf16, {4 * width, width}), y = hidden(),
                 c = stream();
    ops_.lstm_forward({.gates = gates, .weight = weight, .segments = packed(), .y = y, .c = c, .compute = bf16});
    ops_.lstm_backward({.gates = gates,
                        .weight = weight,
                        .segments = packed(),
                        .y = y,
                        .c = c,
                        .dy = hidden(),
                        .dgates = make(bf16, {tokens, 4 * width}),
                        .h_before = hidden(),
                        .compute = bf16});
  }

  void losses() {
    const Tensor table = make(f32, {vocabulary, width}), totals = make(f32, {3});
    ops_.cross_entropy({.x = hidden(),
                        .weight = make(bf16, {vocabulary, width}),
                        .labels = make(i32, {tokens}),
                        .compute = bf16,
                        .totals = totals,
                        .dx = hidden(),
                        .dweight = table});
    const Tensor logits = make(f32, {scored, vocabulary}), pair = make(f32, {2});
    ops_.soft_cross_entropy(
        {.logits = logits, .targets = make(f32, {scored, vocabulary}), .totals = pair, .dlogits = logits});
    const Tensor spans = make(f32, {tokens, 2});
    ops_.segment_cross_entropy(
        {.logits = spans, .segments = packed(), .targets = spans, .totals = totals, .dlogits = spans});
    ops_.segment_soft_cross_entropy(
        {.logits = spans, .segments = packed(), .targets = spans, .totals = pair, .dlogits = make(f32, {tokens, 2})});
    const Tensor one = make(f32, {1});
    ops_.span_mask_loss({.logits = spans,
                         .segments = packed(),
                         .mask = make(f32, {tokens}),
                         .total = one,
                         .dlogits = make(f32, {tokens, 2})});
    ops_.chain_columns_forward({.y = spans, .weight = one});
    ops_.chain_columns_backward({.y = spans, .dy = make(f32, {tokens, 2}), .weight = one, .dweight = make(f32, {1})});
    ops_.cosine_loss({.x = hidden(), .y = hidden(), .totals = pair, .dx = hidden()});
  }

  void rows() {
    const Tensor some = make(bf16, {scored, width}), index = make(i32, {scored}), means = make(f32, {sequences, width});
    ops_.gather_rows({.x = hidden(), .index = index, .y = some});
    ops_.scatter_rows({.x = some, .index = index, .y = hidden()});
    const Tensor states = make(f32, {scored, width}), mixture = make(f32, {12});
    ops_.add_scaled_rows({.x = states, .y = stream(), .y_index = index, .scale = {mixture, 0, Gate::relu}});
    ops_.row_scale_backward(
        {.x = states, .dy = stream(), .dy_index = index, .scale = {mixture, 0, Gate::softmax}, .dweights = mixture});
    ops_.segment_mean_forward({.x = hidden(), .segments = packed(), .y = means});
    ops_.copy({.x = stream(), .y = hidden()});
  }

  void generation() {
    const Tensor logits = make(f32, {drawn, vocabulary}), names = make(i32, {drawn});
    ops_.sample({.logits = logits, .draws = make(f32, {drawn}), .temperature = 1, .top_p = 0.9f, .tokens = names});
    ops_.rank({.logits = logits, .tokens = names, .ranks = make(i32, {drawn})});
  }

  void optimizer() {
    const auto state = [&] { return make(f32, {parameters}); };
    const AdamWTensor all{
        .value = state(), .gradient = state(), .m = state(), .v = state(), .rounded = make(bf16, {parameters})};
    const Tensor norm = make(f32, {1});
    ops_.adamw({.tensors = std::span(&all, 1), .norm_squared = norm, .max_norm = 1});
    ops_.sum_of_squares({.tensors = std::span(&all.gradient, 1), .result = norm});
    const ClippedTensor clipped{.gradient = all.gradient};
    ops_.clip_norms({.tensors = std::span(&clipped, 1), .max_norm = 1, .result = norm});
    ops_.lerp({.x = all.value, .y = all.m, .t = 0.001f});
  }

  Ops& ops_;
  Arena arena_{ops_.memory(), size_t{16} << 30};  // address space that nothing touches
};

}  // namespace

void run_every_operation(Ops& ops) { EveryOperation(ops).run(); }

}  // namespace engine
