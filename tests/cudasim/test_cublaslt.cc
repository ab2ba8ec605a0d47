// The simulated device's cuBLASLt does what the documentation says of descriptors, and refuses what it should.
#include <cublasLt.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "core/bf16.h"
#include "tests/cudasim/cublaslt.h"
#include "tests/device_product.h"
#include "tests/variable.h"

namespace engine::test::test_cublaslt {

namespace {

constexpr int64_t m = 8, n = 5, k = 12;

struct Setup {
  cublasOperation_t transpose_a = CUBLAS_OP_N, transpose_b = CUBLAS_OP_N;
  cublasLtOrder_t order_a = CUBLASLT_ORDER_COL, order_d = CUBLASLT_ORDER_COL;
  cudaDataType type = CUDA_R_32F, d_type = CUDA_R_32F;
  cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
  unsigned epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  int64_t aux_ld = m, gap = 0, b_rows = k;
  float alpha = 1, beta = 0;
  bool gives_scratch = true;
  int64_t shift_a = 0;  // A's shift since the heuristic, in elements
};

// Computes D = alpha op(A) op(B) + beta C with an epilogue, C = D, on a stream of its own. The matrices hold integers,
// so that every sum is exact in any order.
struct Run {
  std::vector<float> a, b, d, bias, aux;
  cublasStatus_t found = CUBLAS_STATUS_SUCCESS, done = CUBLAS_STATUS_SUCCESS;

  explicit Run(const Setup& s) : a(static_cast<size_t>((m + k) * (m + k))), b(a.size()), d(a.size()), bias(m), aux(64) {
    for (size_t i = 0; i < a.size(); ++i) {
      a[i] = static_cast<float>(static_cast<int>(i * 7 % 11) - 5);
      b[i] = static_cast<float>(static_cast<int>(i * 5 % 9) - 4);
      d[i] = static_cast<float>(static_cast<int>(i * 3 % 7) - 3);
    }
    for (size_t i = 0; i < bias.size(); ++i) bias[i] = static_cast<float>(i) - 2;
    for (size_t i = 0; i < aux.size(); ++i) aux[i] = 0.25f * static_cast<float>(i % 9) - 1;
    multiply(s);
  }

 private:
  static void upload(void* to, const std::vector<float>& from, cudaDataType type, cudaStream_t stream) {
    std::vector<bf16> rounded;
    for (float value : from) rounded.emplace_back(value);
    const bool is_bf16 = type == CUDA_R_16BF;
    cudaMemcpyAsync(to, is_bf16 ? static_cast<const void*>(rounded.data()) : from.data(),
                    from.size() * (is_bf16 ? 2 : 4), cudaMemcpyHostToDevice, stream);
    cudaStreamSynchronize(stream);
  }
  static void download(std::vector<float>& to, const void* from, cudaDataType type, cudaStream_t stream) {
    std::vector<bf16> rounded(to.size());
    const bool is_bf16 = type == CUDA_R_16BF;
    cudaMemcpyAsync(is_bf16 ? static_cast<void*>(rounded.data()) : to.data(), from, to.size() * (is_bf16 ? 2 : 4),
                    cudaMemcpyDeviceToHost, stream);
    cudaStreamSynchronize(stream);
    for (size_t i = 0; is_bf16 && i < to.size(); ++i) to[i] = static_cast<float>(rounded[i]);
  }

  void multiply(const Setup& s) {
    cudaStream_t stream = nullptr;
    cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    char* memory = nullptr;
    cudaMalloc(reinterpret_cast<void**>(&memory), 8 << 12);
    const auto at = [&](int i) { return static_cast<void*>(memory + (i << 12)); };
    upload(at(0), a, s.type, stream), upload(at(1), b, s.type, stream), upload(at(2), d, s.d_type, stream);
    upload(at(3), bias, s.d_type, stream), upload(at(4), aux, s.d_type, stream);

    cublasLtHandle_t handle;
    cublasLtCreate(&handle);
    cublasLtMatmulDesc_t operation;
    cublasLtMatmulDescCreate(&operation, s.compute, CUDA_R_32F);
    const auto set = [&](cublasLtMatmulDescAttributes_t attribute, auto value) {
      CHECK(cublasLtMatmulDescSetAttribute(operation, attribute, &value, sizeof value) == CUBLAS_STATUS_SUCCESS);
    };
    set(CUBLASLT_MATMUL_DESC_TRANSA, static_cast<int32_t>(s.transpose_a));
    set(CUBLASLT_MATMUL_DESC_TRANSB, static_cast<int32_t>(s.transpose_b));
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, s.epilogue);
    if (s.epilogue & (CUBLASLT_EPILOGUE_BIAS | CUBLASLT_EPILOGUE_BGRADB)) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, at(3));
    if (s.epilogue & 128) {
      set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, at(4));
      set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, s.aux_ld);
    }
    const auto layout = [&](cudaDataType type, int64_t rows, int64_t cols, cublasLtOrder_t order) {
      cublasLtMatrixLayout_t made;
      const int64_t line = (order == CUBLASLT_ORDER_COL ? rows : cols) + s.gap;
      cublasLtMatrixLayoutCreate(&made, type, static_cast<uint64_t>(rows), static_cast<uint64_t>(cols), line);
      const int32_t value = order;
      cublasLtMatrixLayoutSetAttribute(made, CUBLASLT_MATRIX_LAYOUT_ORDER, &value, sizeof value);
      return made;
    };
    const bool ta = s.transpose_a == CUBLAS_OP_T, tb = s.transpose_b == CUBLAS_OP_T;
    const cublasLtMatrixLayout_t a_layout = layout(s.type, ta ? k : m, ta ? m : k, s.order_a),
                                 b_layout = layout(s.type, tb ? n : s.b_rows, tb ? s.b_rows : n, CUBLASLT_ORDER_COL),
                                 d_layout = layout(s.d_type, m, n, s.order_d);
    cublasLtMatmulPreference_t preference;
    cublasLtMatmulPreferenceCreate(&preference);
    const uint64_t most = 1 << 12;
    cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &most, sizeof most);
    cublasLtMatmulHeuristicResult_t result;
    int count = 0;
    found = cublasLtMatmulAlgoGetHeuristic(handle, operation, a_layout, b_layout, d_layout, d_layout, preference, 1,
                                           &result, &count);
    CHECK((found == CUBLAS_STATUS_SUCCESS) == (count == 1));
    if (count == 1) {
      const void* const a_data = static_cast<char*>(at(0)) + s.shift_a * (s.type == CUDA_R_16BF ? 2 : 4);
      done = cublasLtMatmul(handle, operation, &s.alpha, a_data, a_layout, at(1), b_layout, &s.beta, at(2), d_layout,
                            at(2), d_layout, &result.algo, at(5), s.gives_scratch ? result.workspaceSize : 0, stream);
      download(d, at(2), s.d_type, stream);
      download(aux, at(4), s.d_type, stream);
      download(bias, at(3), s.d_type, stream);
    }
    cublasLtMatmulPreferenceDestroy(preference);
    for (cublasLtMatrixLayout_t one : {a_layout, b_layout, d_layout}) cublasLtMatrixLayoutDestroy(one);
    cublasLtMatmulDescDestroy(operation);
    cublasLtDestroy(handle);
    cudaFree(memory);
    cudaStreamDestroy(stream);
  }
};

using Element = std::function<float(int64_t row, int64_t col, float product)>;
// A tanh of 11 bits makes GELU's value, and its gradient, wrong by this share of the argument, or of the gradient.
constexpr float tanh_error = 0x1p-11f;

// Compares every element of D with `expected`, to `error` of 1 and the product. a and b are read as the setup says.
void check_elements(const Setup& s, const Element& expected, float error = 0) {
  const Run run(s), before({.epilogue = 77});  // the second is refused and keeps its matrices
  REQUIRE(run.found == CUBLAS_STATUS_SUCCESS);
  REQUIRE(run.done == CUBLAS_STATUS_SUCCESS);
  const bool ta = s.transpose_a == CUBLAS_OP_T, tb = s.transpose_b == CUBLAS_OP_T;
  const int64_t a_line = s.order_a == CUBLASLT_ORDER_COL ? (ta ? k : m) : (ta ? m : k);
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) {
      float sum = 0;
      for (int64_t l = 0; l < k; ++l) {
        const bool row_runs = ta == (s.order_a == CUBLASLT_ORDER_COL);  // op(A)'s l is contiguous
        const int64_t of_a = row_runs ? i * (a_line + s.gap) + l : l * (a_line + s.gap) + i;
        const int64_t of_b = tb ? l * (n + s.gap) + j : j * (k + s.gap) + l;
        sum += run.a[static_cast<size_t>(of_a)] * run.b[static_cast<size_t>(of_b)];
      }
      const int64_t of_d = s.order_d == CUBLASLT_ORDER_COL ? j * (m + s.gap) + i : i * (n + s.gap) + j;
      const float value = expected(i, j, s.alpha * sum + s.beta * before.d[static_cast<size_t>(of_d)]);
      const float tolerance = s.d_type == CUDA_R_16BF ? 0x1p-8f : 1e-6f;  // exact sums, a few roundings of the epilogue
      const float product = std::abs(s.alpha * sum) + 1;
      CHECK(std::abs(run.d[static_cast<size_t>(of_d)] - value) <= tolerance * std::abs(value) + error * product);
    }
}
float plain(int64_t, int64_t, float product) { return product; }
float bias_of(int64_t row) { return static_cast<float>(row) - 2; }
float aux_of(int64_t row, int64_t col) { return 0.25f * static_cast<float>((col * m + row) % 9) - 1; }

}  // namespace

TEST_CASE("cuBLASLt stand-in: column-major, transposes, leading dimensions, orders, factors, types") {
  for (cublasOperation_t ta : {CUBLAS_OP_N, CUBLAS_OP_T})
    for (cublasOperation_t tb : {CUBLAS_OP_N, CUBLAS_OP_T})
      for (int64_t gap : {0, 2})
        for (cudaDataType type : {CUDA_R_32F, CUDA_R_16BF}) {
          check_elements({.transpose_a = ta, .transpose_b = tb, .type = type, .gap = gap, .alpha = 2, .beta = -1},
                         plain);
          check_elements(
              {.transpose_a = ta, .transpose_b = tb, .order_a = CUBLASLT_ORDER_ROW, .type = type, .gap = gap}, plain);
          check_elements({.transpose_a = ta, .transpose_b = tb, .order_d = CUBLASLT_ORDER_ROW, .type = type}, plain);
        }
  check_elements({.type = CUDA_R_16BF, .d_type = CUDA_R_16BF, .beta = 1}, plain);
}

TEST_CASE("cuBLASLt stand-in: epilogues") {
  const auto exact = [](double x) {
    return 0.5 * x * (1 + std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
  };
  const auto gelu = [&](float x) { return static_cast<float>(exact(static_cast<double>(x))); };
  check_elements({.epilogue = CUBLASLT_EPILOGUE_BIAS}, [](int64_t i, int64_t, float t) { return t + bias_of(i); });
  check_elements({.epilogue = CUBLASLT_EPILOGUE_RELU_BIAS, .beta = 1},
                 [](int64_t i, int64_t, float t) { return std::max(t + bias_of(i), 0.0f); });
  check_elements({.epilogue = CUBLASLT_EPILOGUE_GELU_BIAS, .alpha = 0.125f},
                 [&](int64_t i, int64_t, float t) { return gelu(t + bias_of(i)); }, 4 * tanh_error);
  const Setup with_aux{.epilogue = CUBLASLT_EPILOGUE_GELU_AUX_BIAS, .alpha = 0.125f};
  check_elements(with_aux, [&](int64_t i, int64_t, float t) { return gelu(t + bias_of(i)); }, 4 * tanh_error);
  const Run aux(with_aux), argument({.epilogue = CUBLASLT_EPILOGUE_BIAS, .alpha = 0.125f});
  for (size_t i = 0; i < static_cast<size_t>(m * n); ++i) CHECK(aux.aux[i] == argument.d[i]);
  check_elements({.epilogue = CUBLASLT_EPILOGUE_DGELU}, [&](int64_t i, int64_t j, float t) {
    const double x = static_cast<double>(aux_of(i, j)), h = 1e-5;
    return t * static_cast<float>((exact(x + h) - exact(x - h)) / (2 * h));
  }, 4 * tanh_error);
  // The error is there, so that a caller that needs an exact GELU is seen.
  const Run coarse({.epilogue = CUBLASLT_EPILOGUE_GELU_BIAS, .alpha = 0.125f});
  float largest = 0;
  for (size_t i = 0; i < static_cast<size_t>(m * n); ++i)
    largest = std::max(largest, std::abs(coarse.d[i] - gelu(argument.d[i])));
  CHECK(largest > 0.1f * tanh_error);
}

TEST_CASE("cuBLASLt stand-in: BGRADB writes the sums of op(B)'s columns beside the product") {
  for (cublasOperation_t tb : {CUBLAS_OP_N, CUBLAS_OP_T})
    for (cudaDataType type : {CUDA_R_32F, CUDA_R_16BF}) {
      const Setup s{.transpose_b = tb, .type = type, .epilogue = CUBLASLT_EPILOGUE_BGRADB, .beta = 1};
      check_elements(s, plain);
      const Run run(s);
      for (int64_t j = 0; j < n; ++j) {
        float sum = 0;
        for (int64_t l = 0; l < k; ++l) sum += run.b[static_cast<size_t>(tb == CUBLAS_OP_T ? l * n + j : j * k + l)];
        CHECK(run.bias[static_cast<size_t>(j)] == sum);
      }
    }
}

TEST_CASE("cuBLASLt stand-in: what cannot be is refused") {
  const auto found = [](const Setup& s) { return Run(s).found; };
  CHECK(found({.b_rows = k + 1}) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(found({.gap = -1}) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(found({.epilogue = CUBLASLT_EPILOGUE_GELU_AUX, .aux_ld = m + 4}) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(found({.type = CUDA_R_32F, .d_type = CUDA_R_16BF}) == CUBLAS_STATUS_NOT_SUPPORTED);
  CHECK(found({.compute = CUBLAS_COMPUTE_64F}) == CUBLAS_STATUS_NOT_SUPPORTED);
  CHECK(found({.epilogue = CUBLASLT_EPILOGUE_BGRADA}) == CUBLAS_STATUS_NOT_SUPPORTED);
  CHECK(found({.order_d = CUBLASLT_ORDER_ROW, .epilogue = CUBLASLT_EPILOGUE_BIAS}) == CUBLAS_STATUS_NOT_SUPPORTED);
  const auto done = [](const Setup& s) { return Run(s).done; };
  CHECK(done({.gives_scratch = false}) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(done({.shift_a = 1}) == CUBLAS_STATUS_INVALID_VALUE);  // the algorithm was chosen for 256 bytes
  cublasLtMatmulDesc_t operation;
  cublasLtMatmulDescCreate(&operation, CUBLAS_COMPUTE_32F, CUDA_R_32F);
  const int64_t wide = 1;
  CHECK(cublasLtMatmulDescSetAttribute(operation, CUBLASLT_MATMUL_DESC_TRANSA, &wide, sizeof wide) ==
        CUBLAS_STATUS_INVALID_VALUE);
  CHECK(cublasLtMatmulDescSetAttribute(operation, CUBLASLT_MATMUL_DESC_TRANSA, nullptr, 4) ==
        CUBLAS_STATUS_INVALID_VALUE);
  cublasLtMatmulDescDestroy(operation);
}

TEST_CASE("cuBLASLt stand-in: it takes row sums along where it can, else our own kernel adds them") {
  // In order, 2^24 + 1 + 1 + ... stays 2^24; our kernel adds the ones apart.
  const int64_t M = 8, K = 64;
  const double first = 0x1p24, in_order = first, apart = first + 7 * 8;
  std::vector<double> values(static_cast<size_t>(K * M), 1.0);
  std::fill(values.begin(), values.begin() + M, first);
  const auto sum = [&](const char* who, DType dtype, int64_t N, Activation activation) {
    const std::unique_ptr<Ops> ops = make_ops("sim", {.matmul = who});
    Arena arena(ops->memory(), size_t{1} << 30);
    Bench bench{*ops, arena, DType::bf16};
    const Tensor sums = bench.zeros({M});
    ops->matmul({.a = bench.from(dtype, {K, M}, values),
                 .b = bench.normal(DType::bf16, {K, N}),
                 .c = bench.zeros({M, N}),
                 .transpose_a = true,
                 .accumulate = true,
                 .compute = DType::bf16,
                 .activation = activation,
                 .a_row_sums = sums});
    return bench.values(sums);
  };
  const auto all = [&](double value) { return std::vector<double>(static_cast<size_t>(M), value); };
  CHECK(sum("cublaslt", DType::bf16, 8, Activation::none) == all(in_order));
  CHECK(sum("cublaslt", DType::bf16, 8, Activation::relu) == all(apart));
  CHECK(sum("cublaslt", DType::bf16, 7, Activation::none) == all(apart));  // it has no algorithm for such rows of D
  CHECK(sum("cublaslt", DType::f32, 8, Activation::none) == all(apart));   // a is rounded first, its sums are not
  CHECK(sum("own", DType::bf16, 8, Activation::none) == all(apart));
  CHECK(sum("auto", DType::bf16, 8, Activation::none) == all(apart));  // until both are measured
}

TEST_CASE("cuBLASLt stand-in: products of one shape have one plan, wherever their matrices lie") {
  const std::unique_ptr<Ops> ops = make_ops("sim", {.matmul = "cublaslt"});
  Arena arena(ops->memory(), size_t{1} << 30);
  Bench bench{*ops, arena, DType::bf16};
  constexpr int64_t size = 24;
  const Tensor room = bench.normal(DType::bf16, {4 * size * size});
  const int before = cudasim::cublaslt_heuristics();
  for (int64_t shift : {0, 8, 16, 32, 64, 128}) {  // from 16 to 256 bytes
    const auto matrix = [&](int64_t number) {
      return Tensor{static_cast<bf16*>(room.data) + number * size * size + shift, DType::bf16, {size, size}};
    };
    ops->matmul({.a = matrix(0), .b = matrix(1), .c = matrix(2), .compute = DType::bf16});
  }
  bench.finish();
  CHECK(cudasim::cublaslt_heuristics() == before + 1);
}

TEST_CASE("cuBLASLt stand-in: where it has no algorithm our own kernels multiply") {
  const ProductForm form{40, 33, 50, DType::bf16, DType::bf16, false, true, Activation::gelu};
  const std::vector<double> own = product_by("own", "sim", form);
  CHECK(product_by("cublaslt", "sim", form) != own);
  const Variable none("CUDASIM_CUBLASLT", "none");
  CHECK(product_by("cublaslt", "sim", form) == own);
}

}  // namespace engine::test::test_cublaslt
