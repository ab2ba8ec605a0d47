// Compares matrix products with the plain reference in double, over every transpose, dtype and epilogue.
#include <algorithm>
#include <array>

#include "core/parallel.h"
#include "kernels/matmul/matmul_ref.h"
#include "tests/invariance.h"

namespace engine::test::test_matmul {

namespace {

struct Case {
  int64_t M, N, K;
  bool transpose_a = false, transpose_b = false, accumulate = false, packed = false;
  DType a = DType::f32, b = DType::f32, c = DType::f32;
  bool bias = false, before = false, gradient = false, row_sums = false;
  Activation activation = Activation::none;
};

std::vector<double> rounded(std::vector<double> values, DType dtype) {
  if (dtype == DType::bf16)
    for (double& value : values) value = static_cast<double>(static_cast<float>(bf16(static_cast<float>(value))));
  return values;
}

// The errors of act(t) or t act'(g), where t errs as a sum of K products and a bias does. Activations err by 1e-6
// themselves (kernels/elementwise/cpu/activation.h), and no slope is above 1.13. Where c is bf16 a backend may round
// two things more to bf16 (matmul.h): the bias, and t before an activation or act' takes it. There a device's gelu_tanh
// may also take a tanh that errs by 2^-11 of itself.
struct MatmulErrors {
  const Case& k;
  bool is_device;
  Values sizes;   // [M, N] |a| |b| + |bias|
  Values before;  // [M, N] t
  Values bias;    // [N], or empty
  Values at;      // [M, N] gradient_at, or empty

  double error_of_t(size_t i) const {
    double error = sum_error(k.K) * sizes[i];
    if (k.c == DType::bf16 && !bias.empty()) error += stored_error(bias[i % bias.size()], DType::bf16);
    return error;
  }
  // Returns what 2^-11 of tanh(u) changes in t (1 + tanh(u)) / 2, or in t times its gradient (1 + tanh(u)) / 2 + x (1 -
  // tanh(u)^2) u' / 2 at x, with u = sqrt(2 / pi) (x + 0.044715 x^3).
  double error_of_tanh(size_t i) const {
    if (at.empty()) return 0x1p-11 * std::abs(before[i]) / 2;
    const double slope_of_u = std::sqrt(2 / M_PI) * (1 + 3 * 0.044715 * at[i] * at[i]);
    return 0x1p-11 * std::abs(before[i]) * (0.5 + std::abs(at[i]) * slope_of_u);
  }
  Values of_before() const {
    Values errors;
    for (size_t i = 0; i < before.size(); ++i) errors.push_back(error_of_t(i) + stored_error(before[i], k.c));
    return errors;
  }
  // The product may be added to `added_to`.
  Values of_c(const Values& c, const Values& added_to) const {
    Values errors;
    const bool has_activation = k.activation != Activation::none;
    for (size_t i = 0; i < c.size(); ++i) {
      double error = error_of_t(i) + (has_activation && k.c == DType::bf16 ? stored_error(before[i], k.c) : 0);
      if (at.empty()) error *= has_activation ? 1.13 : 1;
      else error *= std::abs(reference::activation_gradient(k.activation, at[i])) + 1e-6;
      if (has_activation) error += 1e-6 * std::abs(before[i]);
      if (is_device && k.activation == Activation::gelu_tanh && k.c == DType::bf16) error += error_of_tanh(i);
      const double added = added_to.empty() ? 0 : std::abs(added_to[i]);
      errors.push_back(error + sum_error(1) * (std::abs(c[i]) + added) + stored_error(c[i], k.c));
    }
    return errors;
  }
};

struct Operands {
  Tensor a, b, bias, gradient_at, c, before, row_sums, packed;
};

MatmulArgs arguments(const Case& k, const Operands& t, DType compute) {
  return {.a = t.a,
          .b = t.b,
          .c = t.c,
          .transpose_a = k.transpose_a,
          .transpose_b = k.transpose_b,
          .accumulate = k.accumulate,
          .compute = compute,
          .packed_b = t.packed,
          .bias = t.bias,
          .activation = k.activation,
          .before_activation = t.before,
          .gradient_at = t.gradient_at,
          .a_row_sums = t.row_sums};
}

Operands make(Bench& bench, const Case& k) {
  Operands t;
  t.a = bench.normal(k.a, k.transpose_a ? Shape{k.K, k.M} : Shape{k.M, k.K});
  t.b = bench.normal(k.b, k.transpose_b ? Shape{k.N, k.K} : Shape{k.K, k.N});
  t.c = k.accumulate ? bench.normal(k.c, {k.M, k.N}) : bench.unset(k.c, {k.M, k.N});
  if (k.bias) t.bias = bench.normal(DType::f32, {k.N});
  if (k.gradient) t.gradient_at = bench.normal(k.c, {k.M, k.N});
  if (k.before) t.before = bench.unset(k.c, {k.M, k.N});
  if (k.row_sums) t.row_sums = bench.normal(DType::f32, {k.M});
  if (k.packed) {
    t.packed = bench.arena.make(DType::u8, {static_cast<int64_t>(bench.ops.packed_bytes(k.K, k.N, bench.compute))});
    bench.ops.pack_matrix({.b = t.b, .transpose_b = k.transpose_b, .compute = bench.compute, .packed = t.packed});
  }
  return t;
}

void check(Bench& bench, const Case& k) {
  ArenaScope scope(bench.arena);
  INFO("M ", k.M, " N ", k.N, " K ", k.K, " transposes ", k.transpose_a, k.transpose_b, " accumulate ", k.accumulate,
       " packed ", k.packed, " a ", std::string(name_of(k.a)), " b ",
       std::string(name_of(k.b)), " c ", std::string(name_of(k.c)), " activation ", static_cast<int>(k.activation));
  Operands t = make(bench, k);
  const std::vector<double> exact_a = bench.values(t.a);
  const std::vector<double> a = rounded(exact_a, bench.compute), b = rounded(bench.values(t.b), bench.compute);
  const Values c_before = k.accumulate ? bench.values(t.c) : Values();
  Values c = bench.values(t.c), before(c.size()), sizes(c.size()), bias, gradient_at;
  if (k.bias) bias = bench.values(t.bias);
  if (k.gradient) gradient_at = bench.values(t.gradient_at);
  const Values row_sums_before = k.row_sums ? bench.values(t.row_sums) : Values();
  const auto pointer = [](auto& values) { return values.empty() ? nullptr : values.data(); };
  reference::matmul<double>({k.M, k.N, k.K, a.data(), b.data(), c.data(), k.transpose_a, k.transpose_b, k.accumulate,
                             pointer(bias), k.activation, before.data(), pointer(gradient_at), nullptr});
  const Values size_a = magnitudes(a), size_b = magnitudes(b), size_bias = magnitudes(bias);
  reference::matmul<double>({k.M, k.N, k.K, size_a.data(), size_b.data(), sizes.data(), k.transpose_a, k.transpose_b,
                             false, pointer(size_bias)});
  const MatmulErrors errors{k, bench.is_device, sizes, before, bias, gradient_at};

  bench.ops.matmul(arguments(k, t, bench.compute));
  CHECK_ELEMENTS(bench.values(t.c), c, errors.of_c(c, c_before));
  if (k.before) CHECK_ELEMENTS(bench.values(t.before), before, errors.of_before());
  if (!k.row_sums) return;
  Values row_sums = row_sums_before, sizes_of_sums = magnitudes(row_sums);
  for (int64_t i = 0; i < k.M; ++i)  // a itself is added up, not a rounded
    for (int64_t j = 0; j < k.K; ++j) {
      const double element = exact_a[static_cast<size_t>(k.transpose_a ? j * k.M + i : i * k.K + j)];
      row_sums[static_cast<size_t>(i)] += element;
      sizes_of_sums[static_cast<size_t>(i)] += std::abs(element);
    }
  CHECK_ELEMENTS(bench.values(t.row_sums), row_sums, sum_errors(row_sums, sizes_of_sums, k.K, DType::f32));
}

constexpr int64_t sizes[] = {1, 2, 3, 15, 17, 31, 33, 65, 100};
constexpr DType kinds[] = {DType::f32, DType::bf16};

}  // namespace

TEST_CASE("matmul: every transpose and dtype") {
  on_every_backend([](Bench& bench) {
    for (int form = 0; form < 32; ++form)
      for (const auto& [M, N, K] : {std::array<int64_t, 3>{33, 65, 100}, {2, 17, 31}, {70, 49, 257}})
        check(bench, {.M = M,
                      .N = N,
                      .K = K,
                      .transpose_a = (form & 1) != 0,
                      .transpose_b = (form & 2) != 0,
                      .a = kinds[form >> 2 & 1],
                      .b = kinds[form >> 3 & 1],
                      .c = kinds[form >> 4]});
  });
}

TEST_CASE("matmul: sizes that are multiples of nothing") {
  on_every_backend([](Bench& bench) {
    int form = 0;
    for (int64_t M : sizes)
      for (int64_t N : sizes)
        for (int64_t K : sizes) {
          check(bench, {.M = M,
                        .N = N,
                        .K = K,
                        .transpose_a = form % 2 == 1,
                        .transpose_b = form % 4 > 1,
                        .accumulate = form % 3 == 0,
                        .packed = form % 5 == 0,
                        .a = kinds[form % 7 % 2],
                        .row_sums = form % 11 == 0});
          ++form;
        }
  });
}

TEST_CASE("matmul: blocks and their seams") {
  on_every_backend([](Bench& bench) {
    for (int form = 0; form < 4; ++form) {
      const bool ta = form & 1, tb = form & 2;
      check(bench, {.M = 131, .N = 300, .K = 1030, .transpose_a = ta, .transpose_b = tb});
      check(bench, {.M = 5, .N = 1100, .K = 700, .transpose_a = ta, .transpose_b = tb, .bias = true});
      check(bench, {.M = 520, .N = 70, .K = 60, .transpose_a = ta, .transpose_b = tb, .accumulate = true});
      check(bench, {.M = 70, .N = 45, .K = 3000, .transpose_a = ta, .transpose_b = tb, .row_sums = true});
    }
    for (DType a : kinds)  // rows lie a multiple of 4 KiB apart
      check(bench, {.M = 40, .N = 70, .K = 2048, .transpose_b = true, .a = a});
    for (int64_t M : {600, 2110})  // several tasks each way pack and add up rows
      check(bench, {.M = M, .N = 300, .K = 140, .transpose_a = true, .row_sums = true});
  });
}

TEST_CASE("matmul: long sums, in ranges") {
  on_every_backend([](Bench& bench) {
    if (bench.compute == DType::f32) return;
    for (DType b : {DType::f32, DType::bf16}) {
      Case k{.M = 70, .N = 45, .K = 4001, .transpose_a = true, .accumulate = true, .row_sums = true};
      k.a = k.b = b;
      check(bench, k);
      k.M = 2, k.N = 4100, k.K = 3073;  // c has two parts
      check(bench, k);
    }
  });
}

TEST_CASE("matmul: long rows whose last terms fill no vector") {
  on_every_backend([](Bench& bench) {
    for (int64_t K : {4113, 31745})  // 31745: the last step has these terms alone
      for (bool packed : {false, true}) check(bench, {.M = 70, .N = 35, .K = K, .packed = packed, .a = DType::bf16});
    ArenaScope scope(bench.arena);
    const Case k{.M = 40, .N = 3, .K = 4113, .a = DType::bf16};
    Operands t = make(bench, k);
    std::vector<double> a = bench.values(t.a);
    a[4113] = NAN;  // behind the last term of row 0
    t.a = bench.from(DType::bf16, t.a.shape, a);
    bench.ops.matmul(arguments(k, t, bench.compute));
    const std::vector<double> c = bench.values(t.c);
    for (size_t i = 0; i < c.size(); ++i) CHECK(std::isnan(c[i]) == (i / 3 == 1));
  });
}

TEST_CASE("matmul: every epilogue") {
  on_every_backend([](Bench& bench) {
    for (Activation activation : {Activation::none, Activation::relu, Activation::gelu, Activation::gelu_tanh,
                                  Activation::tanh, Activation::silu, Activation::quick_gelu, Activation::mish})
      for (DType c : kinds)
        for (int form = 0; form < 16; ++form)
          // The last size has rows of 16 bytes everywhere, which cuBLASLt's fused activations want.
          for (const auto& [M, N, K] : {std::array<int64_t, 3>{1, 39, 21}, {6, 39, 21}, {35, 39, 21}, {6, 40, 24}})
            check(bench, {.M = M,
                          .N = N,
                          .K = K,
                          .transpose_b = true,
                          .accumulate = (form & 1) != 0,
                          .packed = form % 3 == 0,
                          .a = c,
                          .c = c,
                          .bias = (form & 2) != 0,
                          .before = (form & 4) != 0,
                          .gradient = (form & 8) != 0,
                          .activation = activation});
  });
}

TEST_CASE("matmul: no rows, and no terms") {
  on_every_backend([](Bench& bench) {
    for (bool packed : {false, true}) check(bench, {.M = 0, .N = 40, .K = 7, .transpose_b = true, .packed = packed});
    check(bench, {.M = 20, .N = 40, .K = 0, .transpose_a = true, .accumulate = true, .row_sums = true});
    check(bench, {.M = 20, .N = 40, .K = 0, .transpose_a = true, .bias = true});
  });
}

TEST_CASE("matmul: a NaN stays in its row or column and is not lost") {
  on_every_backend([](Bench& bench) {
    for (int64_t M : {1, 3, 40}) {
      const Case k{.M = M, .N = 33, .K = 50, .transpose_b = true};
      Operands t = make(bench, k);
      std::vector<double> b = bench.values(t.b);
      b[7 * 50 + 49] = NAN;  // column 7 of op(b)
      t.b = bench.from(DType::f32, t.b.shape, b);
      bench.ops.matmul(arguments(k, t, bench.compute));
      const std::vector<double> c = bench.values(t.c);
      for (int64_t i = 0; i < M; ++i)
        for (int64_t j = 0; j < 33; ++j) CHECK(std::isnan(c[static_cast<size_t>(i * 33 + j)]) == (j == 7));
    }
  });
}

TEST_CASE("matmul: the same bits at any number of threads, and with b packed before") {
  on_every_backend([](Bench& bench) {
    for (const auto& [M, N, K] : {std::array<int64_t, 3>{1, 300, 200}, {9, 130, 90}, {64, 200, 77}, {300, 260, 1500},
                                  {150, 1000, 3100}}) {
      const Case k{
          .M = M, .N = N, .K = K, .transpose_a = true, .bias = true, .row_sums = true, .activation = Activation::gelu};
      Operands t = make(bench, k);
      std::vector<std::vector<double>> results;
      for (int run = 0; run < 4; ++run) {
        set_threads(run == 3 ? 2 : run + 1);
        t.c = bench.unset(DType::f32, {M, N});
        t.row_sums = bench.zeros({M});
        // Long sums with a packed b have another order, and so have a library's (see test_device_matmul.cc).
        if (run == 3 && K < 2000 && !bench.is_device) {
          t.packed = bench.arena.make(DType::u8, {static_cast<int64_t>(bench.ops.packed_bytes(K, N, bench.compute))});
          bench.ops.pack_matrix({.b = t.b, .compute = bench.compute, .packed = t.packed});
        }
        bench.ops.matmul(arguments(k, t, bench.compute));
        results.push_back(bench.values(t.c));
        for (double sum : bench.values(t.row_sums)) results.back().push_back(sum);
        CHECK(results[0] == results.back());
      }
      set_threads(0);
    }
  });
}

TEST_CASE("matmul: row sums have the same bits wherever a lies") {
  on_every_backend([](Bench& bench) {
    const int64_t M = 72, N = 24, K = 200;
    for (const bool transposed : {false, true}) {
      CAPTURE(transposed);
      const Tensor a = bench.normal(bench.compute, transposed ? Shape{K, M} : Shape{M, K});
      const Tensor b = bench.normal(bench.compute, {K, N}), c = bench.unset(DType::f32, {M, N});
      const auto sums_behind = [&](int64_t elements) {
        const Tensor sums = bench.zeros({M});
        bench.ops.matmul({.a = copy_behind(bench, a, elements),
                          .b = b,
                          .c = c,
                          .transpose_a = transposed,
                          .compute = bench.compute,
                          .activation = Activation::relu,  // a library adds up rows of plain products only
                          .a_row_sums = sums});
        return bench.values(sums);
      };
      CHECK(sums_behind(0) == sums_behind(1));
    }
  });
}

TEST_CASE("matmul: what does not fit is refused by name") {
  on_every_backend([](Bench& bench) {
    const Tensor a = bench.normal(DType::f32, {4, 5}), b = bench.normal(DType::f32, {5, 6}), c = bench.zeros({4, 6});
    const auto refuses = [&](const MatmulArgs& args) {
      CHECK_THROWS_WITH_AS(bench.ops.matmul(args), doctest::Contains("matmul"), Error);
    };
    refuses({.a = a, .b = b, .c = c, .transpose_b = true});
    refuses({.a = a, .b = b, .c = c, .transpose_a = true});
    refuses({.a = a, .b = b, .c = bench.zeros({4, 5})});
    refuses({.a = a, .b = b, .c = c, .bias = bench.zeros({5})});
    refuses({.a = a, .b = b, .c = c, .before_activation = bench.zeros({6, 4})});
    refuses({.a = a, .b = b, .c = c, .gradient_at = bench.zeros({6, 4})});
    refuses({.a = a, .b = b, .c = c, .a_row_sums = bench.zeros({5})});
    refuses({.a = a, .b = b, .c = c, .packed_b = bench.arena.make(DType::u8, {3})});
    refuses({.a = bench.integers({4, 5}, std::vector<int>(20)), .b = b, .c = c});
    refuses({.a = a, .b = b, .c = bench.integers({4, 6}, std::vector<int>(24))});
  });
}

// A layer computes y = gelu(x w^T + bias), and the loss is the sum of y * dy for a random dy. Its backward pass gets dt
// through gradient_at, then dx = dt w and dw = dt^T x, with the bias gradient as its row sums.
TEST_CASE("matmul: the backward forms of a linear layer are its derivatives") {
  on_every_backend([](Bench& bench) {
    if (bench.compute == DType::bf16) return;  // finite differences of rounded operands show nothing
    const int64_t N = 7, I = 13, O = 19;
    const Tensor x = bench.normal(DType::f32, {N, I}), w = bench.normal(DType::f32, {O, I}, 0.3);
    const Tensor bias = bench.normal(DType::f32, {O}), weights = bench.normal(DType::f32, {N, O});
    const Tensor t = bench.unset(DType::f32, {N, O}), y = bench.unset(DType::f32, {N, O});
    const auto loss = [&] {
      bench.ops.matmul({.a = x,
                        .b = w,
                        .c = y,
                        .transpose_b = true,
                        .bias = bias,
                        .activation = Activation::gelu,
                        .before_activation = t});
      const std::vector<double> values = bench.values(y), scale = bench.values(weights);
      double sum = 0;
      for (size_t i = 0; i < values.size(); ++i) sum += values[i] * scale[i];
      return sum;
    };
    loss();
    // The product with the identity shows the epilogue alone: dt = dy act'(t).
    std::vector<double> eye(static_cast<size_t>(O * O));
    for (int64_t i = 0; i < O; ++i) eye[static_cast<size_t>(i * O + i)] = 1;
    const Tensor identity = bench.from(DType::f32, {O, O}, eye), dt = bench.unset(DType::f32, {N, O});
    bench.ops.matmul({.a = weights, .b = identity, .c = dt, .activation = Activation::gelu, .gradient_at = t});
    const Tensor dx = bench.unset(DType::f32, {N, I}), dw = bench.zeros({O, I}), dbias = bench.zeros({O});
    bench.ops.matmul({.a = dt, .b = w, .c = dx});
    bench.ops.matmul({.a = dt, .b = x, .c = dw, .transpose_a = true, .accumulate = true, .a_row_sums = dbias});

    // The loss is a sum of rounded results.
    double size = 0;
    const Values results = bench.values(y), factors = bench.values(weights);
    for (size_t i = 0; i < results.size(); ++i) size += std::abs(results[i] * factors[i]);
    const double loss_error = (sum_error(I) + 1e-6) * size / std::sqrt(static_cast<double>(results.size()));
    const auto differences = [&](const Tensor& of) {
      Values values = bench.values(of);
      return finite_differences(values, [&] { bench.fill(of, values); return loss(); }, 1e-2, loss_error);
    };
    for (const auto& [gradient, of] : {std::pair{dx, x}, {dw, w}, {dbias, bias}}) {
      const Derivatives expected = differences(of);
      CHECK_ELEMENTS(bench.values(gradient), expected.values, expected.errors);
      double largest = 0;
      for (double value : expected.values) largest = std::max(largest, std::abs(value));
      for (double error : expected.errors) CHECK(error <= 1e-2 * largest);
    }
  });
}

}  // namespace engine::test::test_matmul
