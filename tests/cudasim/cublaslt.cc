// cuBLASLt of the simulated device: D = epilogue(alpha op(A) op(B) + beta C) by plain loops, in the order of the
// stream, for the combinations of types that the real library's tables list and that the engine uses.
//
// The heuristic refuses, as the library does, types that are in no table, matrices that do not fit together, leading
// dimensions that are too small, and an auxiliary matrix whose leading dimension is no multiple of 8. Where the library
// leaves things open this one is stricter, so that mistakes show:
// - It refuses an algorithm for any other configuration or alignment than the one that it was chosen for.
// - tanh in epilogues with GELU has 11 bits, as a GPU's special function unit gives it (MUFU.TANH).
// - Epilogues with GELU need every matrix's rows to begin at multiples of 16 bytes, and the one with sums of B needs
//   D's, so that tests reach the ways around.
// - Every algorithm takes and uses scratch if it may, which must begin at a multiple of 256 bytes.
// The variable CUDASIM_CUBLASLT of the environment makes it a library that has no algorithm for anything (none), or
// whose products fail (fails).
#include <cublasLt.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "core/bf16.h"
#include "tests/cudasim/cublaslt.h"
#include "tests/cudasim/memory.h"
#include "tests/cudasim/stream.h"

struct cublasLtContext {};
struct cublasLtMatrixLayoutOpaque_t {
  uint32_t type;
  int32_t order = CUBLASLT_ORDER_COL;
  uint64_t rows, cols;
  int64_t ld;
};
struct cublasLtMatmulDescOpaque_t {
  int32_t compute, scale, pointer_mode = CUBLASLT_POINTER_MODE_HOST;
  int32_t transpose_a = CUBLAS_OP_N, transpose_b = CUBLAS_OP_N;
  uint32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  void* bias = nullptr;
  void* aux = nullptr;
  int64_t aux_ld = 0;
  int32_t aux_type = -1, bias_type = -1;
};
struct cublasLtMatmulPreferenceOpaque_t {
  uint32_t search = 0;
  uint64_t workspace_bytes = 0;
  uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_MASK;
  uint32_t alignment[4] = {256, 256, 256, 256};  // A, B, C, D
};

namespace cudasim {

static int heuristics = 0;
int cublaslt_heuristics() { return heuristics; }

}  // namespace cudasim

namespace {

using Operation = cublasLtMatmulDescOpaque_t;
using Layout = cublasLtMatrixLayoutOpaque_t;

cublasStatus_t set(void* member, size_t member_bytes, const void* value, size_t bytes) {
  if (!value || bytes != member_bytes) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(member, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

bool says(const char* what) {
  const char* const is = std::getenv("CUDASIM_CUBLASLT");
  return is && std::string(is) == what;
}

uint64_t bytes_of(const Layout& m) { return m.type == CUDA_R_16BF ? 2 : 4; }
bool sums_b(const Operation& o) { return o.epilogue == CUBLASLT_EPILOGUE_BGRADB; }
bool has_bias(const Operation& o) { return o.epilogue & CUBLASLT_EPILOGUE_BIAS || sums_b(o); }
bool has_aux(const Operation& o) { return o.epilogue & 128; }

bool is_possible(const Layout& m) {
  const uint64_t line = m.order == CUBLASLT_ORDER_COL ? m.rows : m.cols;
  return m.rows > 0 && m.cols > 0 && m.ld >= 0 && static_cast<uint64_t>(m.ld) >= line;
}

// Refuses impossible arguments, then those that are in no table.
cublasStatus_t check(const Operation& o, const Layout& a, const Layout& b, const Layout& c, const Layout& d) {
  const auto rows = [](const Layout& m, int32_t t) { return t == CUBLAS_OP_N ? m.rows : m.cols; };
  const auto cols = [](const Layout& m, int32_t t) { return t == CUBLAS_OP_N ? m.cols : m.rows; };
  for (const Layout* m : {&a, &b, &c, &d})
    if (!is_possible(*m)) return CUBLAS_STATUS_INVALID_VALUE;
  if (rows(a, o.transpose_a) != d.rows || cols(b, o.transpose_b) != d.cols ||
      cols(a, o.transpose_a) != rows(b, o.transpose_b) || c.rows != d.rows || c.cols != d.cols)
    return CUBLAS_STATUS_INVALID_VALUE;
  if (has_aux(o) && (!o.aux || o.aux_ld % 8 != 0 || o.aux_ld < static_cast<int64_t>(d.rows)))
    return CUBLAS_STATUS_INVALID_VALUE;

  if (o.compute != CUBLAS_COMPUTE_32F || o.scale != CUDA_R_32F || o.pointer_mode != CUBLASLT_POINTER_MODE_HOST)
    return CUBLAS_STATUS_NOT_SUPPORTED;
  const bool f32 = a.type == CUDA_R_32F && b.type == CUDA_R_32F && d.type == CUDA_R_32F;
  const bool bf16 = a.type == CUDA_R_16BF && b.type == CUDA_R_16BF && (d.type == CUDA_R_16BF || d.type == CUDA_R_32F);
  if ((!f32 && !bf16) || c.type != d.type) return CUBLAS_STATUS_NOT_SUPPORTED;
  switch (o.epilogue) {
    case CUBLASLT_EPILOGUE_DEFAULT:
    case CUBLASLT_EPILOGUE_RELU:
    case CUBLASLT_EPILOGUE_BIAS:
    case CUBLASLT_EPILOGUE_RELU_BIAS:
    case CUBLASLT_EPILOGUE_GELU:
    case CUBLASLT_EPILOGUE_GELU_BIAS:
    case CUBLASLT_EPILOGUE_GELU_AUX:
    case CUBLASLT_EPILOGUE_GELU_AUX_BIAS:
    case CUBLASLT_EPILOGUE_DGELU:
    case CUBLASLT_EPILOGUE_BGRADB: break;
    default: return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  const auto is_ds = [&](int32_t type) { return type == -1 || static_cast<uint32_t>(type) == d.type; };
  if ((has_bias(o) && !is_ds(o.bias_type)) || (has_aux(o) && !is_ds(o.aux_type))) return CUBLAS_STATUS_NOT_SUPPORTED;
  const bool row_major = d.order == CUBLASLT_ORDER_ROW || c.order == CUBLASLT_ORDER_ROW;
  if (row_major && o.epilogue != CUBLASLT_EPILOGUE_DEFAULT) return CUBLAS_STATUS_NOT_SUPPORTED;
  return CUBLAS_STATUS_SUCCESS;
}

// Joins all of a configuration but its pointers in one number.
uint64_t fingerprint(const Operation& o, const Layout& a, const Layout& b, const Layout& c, const Layout& d) {
  uint64_t hash = 1469598103934665603u;
  const auto add = [&](uint64_t value) { hash = (hash ^ value) * 1099511628211u; };
  for (const Layout* m : {&a, &b, &c, &d})
    for (uint64_t value :
         {uint64_t{m->type}, static_cast<uint64_t>(m->order), m->rows, m->cols, static_cast<uint64_t>(m->ld)})
      add(value);
  for (int64_t value : {int64_t{o.compute}, int64_t{o.scale}, int64_t{o.transpose_a}, int64_t{o.transpose_b},
                        int64_t{o.epilogue}, o.aux_ld, int64_t{o.aux_type}, int64_t{o.bias_type}})
    add(static_cast<uint64_t>(value));
  return hash;
}

struct Algorithm {
  uint64_t fingerprint;
  uint32_t alignment[4];
  uint64_t workspace_bytes, reserved[4];
};
static_assert(sizeof(Algorithm) == sizeof(cublasLtMatmulAlgo_t));

struct Matrix {
  Layout layout;
  char* data;

  size_t index(uint64_t row, uint64_t col) const {
    const auto ld = static_cast<uint64_t>(layout.ld);
    return layout.order == CUBLASLT_ORDER_COL ? col * ld + row : row * ld + col;
  }
  float get(uint64_t row, uint64_t col) const { return get(data, layout.type, index(row, col)); }
  void put(uint64_t row, uint64_t col, float value) const { put(data, layout.type, index(row, col), value); }
  static float get(const void* data, uint32_t type, size_t i) {
    if (type == CUDA_R_16BF) return static_cast<float>(static_cast<const engine::bf16*>(data)[i]);
    return static_cast<const float*>(data)[i];
  }
  static void put(void* data, uint32_t type, size_t i, float value) {
    if (type == CUDA_R_16BF) static_cast<engine::bf16*>(data)[i] = engine::bf16(value);
    else static_cast<float*>(data)[i] = value;
  }
};

// Rounds tanh of gelu_tanh's argument to 11 bits.
double coarse_tanh(double x) {
  int exponent = 0;
  const double fraction = std::frexp(std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)), &exponent);
  return std::ldexp(std::nearbyint(std::ldexp(fraction, 11)), exponent - 11);
}
double gelu_tanh(double x) { return 0.5 * x * (1 + coarse_tanh(x)); }
double gelu_tanh_gradient(double x) {
  const double t = coarse_tanh(x);
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * std::sqrt(2 / M_PI) * (1 + 3 * 0.044715 * x * x);
}

struct Call {
  Operation operation;
  Matrix a, b, c, d;
  float alpha, beta;
  char* workspace;
  size_t workspace_bytes;

  float finished(float x, uint64_t row, uint64_t col) const {
    const Operation& o = operation;
    const size_t aux = col * static_cast<uint64_t>(o.aux_ld) + row;
    if (o.epilogue & CUBLASLT_EPILOGUE_BIAS) x += Matrix::get(o.bias, d.layout.type, row);
    if (o.epilogue == CUBLASLT_EPILOGUE_DGELU)
      return static_cast<float>(x * gelu_tanh_gradient(Matrix::get(o.aux, d.layout.type, aux)));
    if (has_aux(o)) Matrix::put(o.aux, d.layout.type, aux, x);
    if (o.epilogue & CUBLASLT_EPILOGUE_RELU) return x < 0 ? 0 : x;
    return o.epilogue & CUBLASLT_EPILOGUE_GELU ? static_cast<float>(gelu_tanh(x)) : x;
  }

  void run() const {
    const bool ta = operation.transpose_a != CUBLAS_OP_N, tb = operation.transpose_b != CUBLAS_OP_N;
    const uint64_t m = d.layout.rows, n = d.layout.cols, k = ta ? a.layout.rows : a.layout.cols;
    std::fill(workspace, workspace + workspace_bytes, '\xff');
    std::vector<float> of_a(m * k), sums(m);  // one column of op(A) after another
    for (uint64_t l = 0; l < k; ++l)
      for (uint64_t i = 0; i < m; ++i) of_a[l * m + i] = ta ? a.get(l, i) : a.get(i, l);
    for (uint64_t j = 0; j < n; ++j) {
      std::fill(sums.begin(), sums.end(), 0.0f);
      float sum_of_b = 0;
      for (uint64_t l = 0; l < k; ++l) {
        const float factor = tb ? b.get(j, l) : b.get(l, j);
        sum_of_b += factor;
        for (uint64_t i = 0; i < m; ++i) sums[i] += of_a[l * m + i] * factor;
      }
      if (sums_b(operation)) Matrix::put(operation.bias, d.layout.type, j, sum_of_b);
      for (uint64_t i = 0; i < m; ++i) {
        const float scaled = alpha * sums[i];
        d.put(i, j, finished(beta == 0 ? scaled : scaled + beta * c.get(i, j), i, j));
      }
    }
  }
};

}  // namespace

const char* cublasLtGetStatusName(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS: return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_INVALID_VALUE: return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_EXECUTION_FAILED: return "CUBLAS_STATUS_EXECUTION_FAILED";
    case CUBLAS_STATUS_NOT_SUPPORTED: return "CUBLAS_STATUS_NOT_SUPPORTED";
  }
  return "unknown";
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  *handle = new cublasLtContext;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}
size_t cublasLtGetVersion() { return CUBLAS_VER_MAJOR * 10000; }

// These calls take anything, as the library's do. The heuristic refuses arguments without a meaning.
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type, uint64_t rows,
                                          uint64_t cols, int64_t ld) {
  *layout = new Layout{static_cast<uint32_t>(type), CUBLASLT_ORDER_COL, rows, cols, ld};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete layout;
  return CUBLAS_STATUS_SUCCESS;
}
#define SETS(attribute, member) \
  case attribute: return set(&(member), sizeof(member), value, bytes);
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout,
                                                cublasLtMatrixLayoutAttribute_t attribute, const void* value,
                                                size_t bytes) {
  switch (attribute) {
    SETS(CUBLASLT_MATRIX_LAYOUT_TYPE, layout->type)
    SETS(CUBLASLT_MATRIX_LAYOUT_ORDER, layout->order)
    SETS(CUBLASLT_MATRIX_LAYOUT_ROWS, layout->rows)
    SETS(CUBLASLT_MATRIX_LAYOUT_COLS, layout->cols)
    SETS(CUBLASLT_MATRIX_LAYOUT_LD, layout->ld)
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* operation, cublasComputeType_t compute,
                                        cudaDataType_t scale) {
  *operation = new Operation{compute, scale};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t operation) {
  delete operation;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, size_t bytes) {
  switch (attribute) {
    SETS(CUBLASLT_MATMUL_DESC_COMPUTE_TYPE, operation->compute)
    SETS(CUBLASLT_MATMUL_DESC_SCALE_TYPE, operation->scale)
    SETS(CUBLASLT_MATMUL_DESC_POINTER_MODE, operation->pointer_mode)
    SETS(CUBLASLT_MATMUL_DESC_TRANSA, operation->transpose_a)
    SETS(CUBLASLT_MATMUL_DESC_TRANSB, operation->transpose_b)
    SETS(CUBLASLT_MATMUL_DESC_EPILOGUE, operation->epilogue)
    SETS(CUBLASLT_MATMUL_DESC_BIAS_POINTER, operation->bias)
    SETS(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, operation->aux)
    SETS(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, operation->aux_ld)
    SETS(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_DATA_TYPE, operation->aux_type)
    SETS(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, operation->bias_type)
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = new cublasLtMatmulPreferenceOpaque_t;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete preference;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute, const void* value,
                                                    size_t bytes) {
  switch (attribute) {
    SETS(CUBLASLT_MATMUL_PREF_SEARCH_MODE, preference->search)
    SETS(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, preference->workspace_bytes)
    SETS(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, preference->reductions)
    SETS(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, preference->alignment[0])
    SETS(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, preference->alignment[1])
    SETS(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, preference->alignment[2])
    SETS(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, preference->alignment[3])
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}
#undef SETS

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int wanted,
                                              cublasLtMatmulHeuristicResult_t results[], int* count) {
  if (!handle || !operation || !a || !b || !c || !d || !preference || wanted < 1) return CUBLAS_STATUS_INVALID_VALUE;
  *count = 0;
  ++cudasim::heuristics;
  if (const cublasStatus_t status = check(*operation, *a, *b, *c, *d); status != CUBLAS_STATUS_SUCCESS) return status;
  if (says("none")) return CUBLAS_STATUS_NOT_SUPPORTED;
  Algorithm algorithm{
      fingerprint(*operation, *a, *b, *c, *d), {}, std::min<uint64_t>(preference->workspace_bytes, 512), {}};
  const Layout* const matrices[4] = {a, b, c, d};
  bool aligned = true, d_aligned = true;
  for (int i = 0; i < 4; ++i) {
    algorithm.alignment[i] = preference->alignment[i];
    d_aligned =
        preference->alignment[i] % 16 == 0 && static_cast<uint64_t>(matrices[i]->ld) * bytes_of(*matrices[i]) % 16 == 0;
    aligned &= d_aligned;
    if (preference->alignment[i] < bytes_of(*matrices[i])) return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  if ((operation->epilogue & (CUBLASLT_EPILOGUE_GELU | 64)) && !aligned) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (sums_b(*operation) && !d_aligned) return CUBLAS_STATUS_NOT_SUPPORTED;
  results[0] = {};
  std::memcpy(&results[0].algo, &algorithm, sizeof algorithm);
  results[0].workspaceSize = algorithm.workspace_bytes;
  results[0].wavesCount = 1;
  *count = 1;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation, const void* alpha, const void* a,
                              cublasLtMatrixLayout_t a_layout, const void* b, cublasLtMatrixLayout_t b_layout,
                              const void* beta, const void* c, cublasLtMatrixLayout_t c_layout, void* d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* chosen, void* workspace,
                              size_t workspace_bytes, cudaStream_t stream) {
  if (!handle || !operation || !alpha || !beta || !a || !b || !d || !a_layout || !b_layout || !c_layout || !d_layout ||
      !chosen)
    return CUBLAS_STATUS_INVALID_VALUE;
  const Operation& o = *operation;
  if (const cublasStatus_t status = check(o, *a_layout, *b_layout, *c_layout, *d_layout);
      status != CUBLAS_STATUS_SUCCESS)
    return status;
  Algorithm algorithm;
  std::memcpy(&algorithm, chosen, sizeof algorithm);
  const auto misaligned = [](const void* data, uint64_t alignment) {
    return reinterpret_cast<uintptr_t>(data) % alignment != 0;
  };
  const void* const matrices[4] = {a, b, c, d};
  bool wrong = algorithm.fingerprint != fingerprint(o, *a_layout, *b_layout, *c_layout, *d_layout);
  for (int i = 0; i < 4; ++i) wrong |= matrices[i] && misaligned(matrices[i], algorithm.alignment[i]);
  wrong |= workspace_bytes < algorithm.workspace_bytes || (algorithm.workspace_bytes && misaligned(workspace, 256));
  wrong |= has_bias(o) && (!o.bias || misaligned(o.bias, bytes_of(*d_layout)));
  wrong |= has_aux(o) && misaligned(o.aux, 16);
  const Call call{o,
                  {*a_layout, static_cast<char*>(const_cast<void*>(a))},
                  {*b_layout, static_cast<char*>(const_cast<void*>(b))},
                  {*c_layout, static_cast<char*>(const_cast<void*>(c))},
                  {*d_layout, static_cast<char*>(d)},
                  *static_cast<const float*>(alpha),
                  *static_cast<const float*>(beta),
                  static_cast<char*>(workspace),
                  algorithm.workspace_bytes};
  wrong |= call.beta != 0 && (!c || (c == d && c_layout->ld != d_layout->ld));
  if (wrong) return CUBLAS_STATUS_INVALID_VALUE;
  if (says("fails")) return CUBLAS_STATUS_EXECUTION_FAILED;
  const auto run = [call] {
    const cudasim::OpenMemory open;
    call.run();
    return std::string();
  };
  return cudasim::push(stream, {run, reinterpret_cast<const void*>(&cublasLtMatmul)}) == cudaSuccess
             ? CUBLAS_STATUS_SUCCESS
             : CUBLAS_STATUS_EXECUTION_FAILED;
}
