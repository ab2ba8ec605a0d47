#include "kernels/matmul/cuda/cublaslt.h"

#include <iostream>
#include <utility>

#include "core/error.h"
#include "kernels/cuda/launch.h"

namespace engine::cuda {

namespace {

// An algorithm may use this much scratch, which begins at a multiple of scratch_alignment.
constexpr size_t most_scratch = size_t{32} << 20, scratch_alignment = 256;

// Carries a refusal of the library to LibraryProducts::run, which names the product.
struct Refused {
  cublasStatus_t status;
  const char* what;
};
void require_success(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS) [[unlikely]]
    throw Refused{status, what};
}

// Returns the largest power of two, up to 16, that divides the address. No kernel needs more, and as most tensors begin
// on 16 bytes, plans follow from shapes alone, wherever a tensor lies.
uint32_t alignment_of(const void* address) {
  const auto bits = reinterpret_cast<uintptr_t>(address) | 16;
  return static_cast<uint32_t>(bits & (~bits + 1));
}

cudaDataType_t type_of(bool is_bf16) { return is_bf16 ? CUDA_R_16BF : CUDA_R_32F; }

}  // namespace

struct LibraryProducts::Call {
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  DeviceMatrix d;  // f32 scratch where its data is null
  const float* bias = nullptr;  // read, or written by BGRADB
  DeviceMatrix aux;                // argument of GELU
  bool accumulate = false;
  bool unfinished = false;  // our own kernel does `rest` to d
  Epilogue rest;
};

struct LibraryProducts::Plan {
  const CublasLt& library;
  cublasLtMatmulDesc_t operation = nullptr;
  cublasLtMatrixLayout_t a = nullptr, b = nullptr, d = nullptr;
  bool supported = false;
  cublasLtMatmulAlgo_t algorithm{};
  size_t scratch_bytes = 0;

  explicit Plan(const CublasLt& of) : library(of) {}
  ~Plan() {
    if (operation) library.operation_destroy(operation);
    for (cublasLtMatrixLayout_t layout : {a, b, d})
      if (layout) library.layout_destroy(layout);
  }
  template <class T>
  void set(cublasLtMatmulDescAttributes_t attribute, const T& value) {
    require_success(library.operation_set(operation, attribute, &value, sizeof value), "cannot set an attribute");
  }
};

std::unique_ptr<LibraryProducts> LibraryProducts::make(const Device& device, Arena& workspace,
                                                       const std::string& choice) {
  if (choice == "own") return nullptr;
  const CublasLt* const library = CublasLt::get();
  if (!library && choice == "cublaslt")
    fail_usage("matmul = \"cublaslt\", but libcublasLt cannot be loaded: install it, or set matmul = \"own\"");
  static bool is_told = false;
  if (!library && !std::exchange(is_told, true))
    std::cerr << "note: our own kernels multiply matrices, since libcublasLt, which is faster, cannot be loaded: "
                 "install it (pip install nvidia-cublas), or set matmul = \"own\"\n";
  if (!library) return nullptr;
  return std::unique_ptr<LibraryProducts>(new LibraryProducts(*library, device, workspace, choice == "cublaslt"));
}

LibraryProducts::LibraryProducts(const CublasLt& library, const Device& device, Arena& workspace, bool sums_rows)
    : library_(library), device_(device), workspace_(workspace), sums_rows_(sums_rows) {
  const cublasStatus_t status = library_.create(&handle_);
  require(status == CUBLAS_STATUS_SUCCESS, "cuBLASLt cannot be started: ", library_.status_name(status), ", on ",
          device_.name(), " (matmul = \"own\" does without it)");
}

LibraryProducts::~LibraryProducts() {
  plans_.clear();
  library_.destroy(handle_);
}

// Returns the call with as much of the epilogue as the library does with our meaning. Its GELU is the tanh form, with a
// tanh of about 11 bits (MUFU.TANH) for every type, which is enough for bf16 results only. It accumulates before the
// activation, and we do behind it. Its RELU_AUX is a bit mask, and not the activation's argument.
LibraryProducts::Call LibraryProducts::fused(const Product& product) const {
  const Epilogue& e = product.epilogue;
  Call call;
  call.d = e.c;
  call.accumulate = e.accumulate;
  call.bias = e.bias;
  const auto aux_fits = [&](const DeviceMatrix& m) {
    return m.is_bf16 == e.c.is_bf16 && m.stride % 8 == 0 && alignment_of(m.data) >= 16;
  };
  const auto takes = [&](int epilogue, const DeviceMatrix& aux = {}) {
    call.epilogue = static_cast<cublasLtEpilogue_t>(epilogue | (e.bias ? CUBLASLT_EPILOGUE_BIAS : 0));
    call.aux = aux;
    return call;
  };
  if (product.compute == DType::bf16 || !e.c.is_bf16) {  // no f32 product has a bf16 result
    const bool plain = !e.before.data && !e.gradient_at.data;
    if (plain && e.activation == Activation::none) return e.bias ? takes(0) : call;
    if (plain && e.activation == Activation::relu && !e.accumulate) return takes(CUBLASLT_EPILOGUE_RELU);
    if (e.activation == Activation::gelu_tanh && e.c.is_bf16 && !e.accumulate) {
      if (plain) return takes(CUBLASLT_EPILOGUE_GELU);
      if (!e.gradient_at.data && aux_fits(e.before)) return takes(CUBLASLT_EPILOGUE_GELU_AUX, e.before);
      if (!e.before.data && !e.bias && aux_fits(e.gradient_at)) return takes(CUBLASLT_EPILOGUE_DGELU, e.gradient_at);
    }
  }
  return in_two_steps(product);
}

// Returns a call for the product and the bias. Our own kernel does the rest, from the product's final place or from
// scratch.
LibraryProducts::Call LibraryProducts::in_two_steps(const Product& product) const {
  const Epilogue& e = product.epilogue;
  Call call;
  call.bias = e.bias;
  if (e.bias) call.epilogue = CUBLASLT_EPILOGUE_BIAS;
  call.unfinished = true;
  call.rest = e;
  call.rest.bias = nullptr;
  const DeviceMatrix& place = e.before.data ? e.before : e.c;
  if (!e.accumulate && (product.compute == DType::bf16 || !place.is_bf16)) {
    call.d = place;
    if (e.before.data) call.rest.before = {};
  } else {
    call.d.stride = static_cast<int>(product.b.outer);
  }
  return call;
}

bool LibraryProducts::multiply(const Product& product, MatrixProducts& products) {
  Call call = fused(product);
  if (run(product, call, products)) return true;
  if (call.unfinished) return false;
  call = in_two_steps(product);
  return run(product, call, products);
}

// Writes the sums to scratch first, since the library does not add them.
bool LibraryProducts::multiply_with_row_sums(const Product& product, MatrixProducts& products) {
  if (!sums_rows_) return false;
  const Epilogue& e = product.epilogue;
  const bool plain = !e.bias && !e.before.data && !e.gradient_at.data && e.activation == Activation::none;
  if (!plain || e.c.is_bf16) return false;
  const int64_t rows = product.a.outer;
  const float* const sums = workspace_.make(DType::f32, {rows}).as<float>();
  Call call;
  call.epilogue = CUBLASLT_EPILOGUE_BGRADB;
  call.d = e.c;
  call.accumulate = e.accumulate;
  call.bias = sums;
  if (!run(product, call, products)) return false;
  products.add_parts(sums, 1, rows, product.a_row_sums);
  return true;
}

void* LibraryProducts::aligned_scratch(size_t bytes) {
  const auto address =
      reinterpret_cast<uintptr_t>(workspace_.make(DType::u8, {static_cast<int64_t>(bytes + scratch_alignment)}).data);
  return reinterpret_cast<void*>((address + scratch_alignment - 1) / scratch_alignment * scratch_alignment);
}

bool LibraryProducts::run(const Product& product, Call& call, MatrixProducts& products) {
  try {
    return call_library(product, call, products);
  } catch (const Refused& refused) {
    fail(running_operation(), ": cuBLASLt: ", refused.what, ": ", library_.status_name(refused.status), " (",
         static_cast<int>(refused.status), "), M ", product.a.outer, " N ", product.b.outer, " K ", product.a.k, " in ",
         name_of(product.compute), ", on ", device_.name());
  }
}

bool LibraryProducts::call_library(const Product& product, Call& call, MatrixProducts& products) {
  const cudaStream_t stream = device_.compute_stream();
  const int64_t rows = product.a.outer, cols = product.b.outer;
  if (!call.d.data) call.d.data = static_cast<char*>(workspace_.make(DType::f32, {rows, cols}).data);
  const void* bias = call.bias;
  if (bias && call.d.is_bf16) {  // the library reads it in d's type
    void* const rounded = workspace_.make(DType::bf16, {cols}).data;
    products.convert({bias, DType::f32, true, 1, cols, cols}, DType::bf16, cols, rounded);
    bias = rounded;
  }
  Plan& plan = plan_of(product, call);
  if (!plan.supported) return false;
  void* const scratch = plan.scratch_bytes ? aligned_scratch(plan.scratch_bytes) : nullptr;
  const float beta = call.accumulate ? 1.0f : 0.0f;
  const void *const a = product.a.data, *const b = product.b.data, *const aux = call.aux.data;
  void* const d = call.d.data;
  const auto start = [=, this, &plan] {
    if (bias) plan.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    if (aux) plan.set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, aux);
    const float one = 1;
    require_success(library_.matmul(handle_, plan.operation, &one, b, plan.a, a, plan.b, &beta, d, plan.d, d, plan.d,
                                    &plan.algorithm, scratch, plan.scratch_bytes, stream),
                    "the product failed");
  };
  start_or_record(start, &plan, a, b, d, bias, aux, scratch, beta);
  wait_if_synchronous(stream);
  if (call.unfinished) finish_product(call.d, 1, rows, cols, call.rest, stream);
  return true;
}

// Finds the plan by everything that the choice of an algorithm depends on.
LibraryProducts::Plan& LibraryProducts::plan_of(const Product& product, const Call& call) {
  const Factor &a = product.a, &b = product.b;
  const Key key{a.outer,
                b.outer,
                a.k,
                a.stride,
                b.stride,
                call.d.stride,
                a.k_contiguous,
                b.k_contiguous,
                static_cast<int64_t>(product.compute),
                call.d.is_bf16,
                static_cast<int64_t>(call.epilogue),
                call.accumulate,
                alignment_of(a.data) << 16 | alignment_of(b.data),
                alignment_of(call.d.data),
                call.aux.data ? alignment_of(call.aux.data) : 0,
                call.bias ? alignment_of(call.bias) : 0};
  std::unique_ptr<Plan>& plan = plans_[key];
  if (!plan) plan = make_plan(product, call);
  return *plan;
}

std::unique_ptr<LibraryProducts::Plan> LibraryProducts::make_plan(const Product& product, const Call& call) const {
  auto plan = std::make_unique<Plan>(library_);
  // CUBLAS_COMPUTE_32F does not round f32 operands to TF32.
  require_success(library_.operation_create(&plan->operation, CUBLAS_COMPUTE_32F, CUDA_R_32F), "no descriptor");
  const auto operation_of = [](bool transposed) {
    return static_cast<int32_t>(transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
  };
  // An operand whose k is contiguous is [k, outer] in column-major order. A has to be transposed then, and B not.
  plan->set(CUBLASLT_MATMUL_DESC_TRANSA, operation_of(product.b.k_contiguous));
  plan->set(CUBLASLT_MATMUL_DESC_TRANSB, operation_of(!product.a.k_contiguous));
  plan->set(CUBLASLT_MATMUL_DESC_EPILOGUE, static_cast<uint32_t>(call.epilogue));
  if (call.aux.data) {
    plan->set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, call.aux.data);
    plan->set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, int64_t{call.aux.stride});
  }
  if (call.bias) plan->set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<const void*>(call.bias));
  const auto layout = [&](cublasLtMatrixLayout_t& to, bool is_bf16, int64_t rows, int64_t cols, int64_t stride) {
    require_success(
        library_.layout_create(&to, type_of(is_bf16), static_cast<uint64_t>(rows), static_cast<uint64_t>(cols), stride),
        "no layout");
  };
  const bool bf16_factors = product.compute == DType::bf16;
  layout(plan->a, bf16_factors, product.b.cols(), product.b.rows(), product.b.stride);
  layout(plan->b, bf16_factors, product.a.cols(), product.a.rows(), product.a.stride);
  layout(plan->d, call.d.is_bf16, product.b.outer, product.a.outer, call.d.stride);

  cublasLtMatmulPreference_t preference = nullptr;
  require_success(library_.preference_create(&preference), "no preferences");
  const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
    require_success(library_.preference_set(preference, attribute, &value, sizeof value), "cannot set a preference");
  };
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{most_scratch});
  // The library adds parts of K in scratch, in f32 and in their order, and never in place.
  prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment_of(product.b.data));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment_of(product.a.data));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment_of(call.d.data));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment_of(call.d.data));
  cublasLtMatmulHeuristicResult_t found{};
  int count = 0;
  const cublasStatus_t status =
      library_.heuristic(handle_, plan->operation, plan->a, plan->b, plan->d, plan->d, preference, 1, &found, &count);
  library_.preference_destroy(preference);
  plan->supported = status == CUBLAS_STATUS_SUCCESS && count > 0 && found.state == CUBLAS_STATUS_SUCCESS;
  plan->algorithm = found.algo;
  plan->scratch_bytes = found.workspaceSize;
  return plan;
}

}  // namespace engine::cuda
