// Finds cuBLASLt.
#ifndef ENGINE_SIM
#include <dlfcn.h>
#endif

#include <cstdlib>
#include <string>

#include "core/cuda/library.h"
#include "kernels/backend/cuda_backend.h"
#include "kernels/matmul/cuda/cublaslt.h"

namespace engine::cuda {

namespace {

// Lists the table's members with their names in the library.
#define ENGINE_CUBLASLT_FUNCTIONS(_)                                                                          \
  _(create, cublasLtCreate)                                                                                   \
  _(destroy, cublasLtDestroy)                                                                                 \
  _(version, cublasLtGetVersion)                                                                              \
  _(operation_create, cublasLtMatmulDescCreate)                                                               \
  _(operation_destroy, cublasLtMatmulDescDestroy)                                                             \
  _(operation_set, cublasLtMatmulDescSetAttribute)                                                            \
  _(layout_create, cublasLtMatrixLayoutCreate)                                                                \
  _(layout_destroy, cublasLtMatrixLayoutDestroy)                                                              \
  _(preference_create, cublasLtMatmulPreferenceCreate)                                                        \
  _(preference_destroy, cublasLtMatmulPreferenceDestroy)                                                      \
  _(preference_set, cublasLtMatmulPreferenceSetAttribute)                                                     \
  _(heuristic, cublasLtMatmulAlgoGetHeuristic)                                                                \
  _(matmul, cublasLtMatmul)                                                                                   \
  _(status_name, cublasLtGetStatusName)

#ifdef ENGINE_SIM
// Takes the simulated device's functions, which are a part of the program, unless CUDASIM_CUBLASLT says "absent".
bool load(CublasLt& table) {
  const char* const is = std::getenv("CUDASIM_CUBLASLT");
  if (is && std::string(is) == "absent") return false;
#define FOUND(member, name) table.member = &name;
  ENGINE_CUBLASLT_FUNCTIONS(FOUND)
#undef FOUND
  return true;
}
#else
// Refuses another major version, whose structures are not those of our
// headers.
bool load(CublasLt& table) {
  const std::string major = std::to_string(CUBLAS_VER_MAJOR);
  void* const library = open_library("libcublasLt.so." + major, "cu" + major);
  if (!library) return false;
#define FOUND(member, name)                                                   \
  table.member = reinterpret_cast<decltype(table.member)>(dlsym(library, #name)); \
  if (!table.member) return false;
  ENGINE_CUBLASLT_FUNCTIONS(FOUND)
#undef FOUND
  return table.version() / 10000 == CUBLAS_VER_MAJOR;
}
#endif

}  // namespace

const CublasLt* CublasLt::get() {
  static CublasLt table{};
  static const bool is_there = load(table);
  return is_there ? &table : nullptr;
}

std::string matrix_products_description() {
  const CublasLt* const library = CublasLt::get();
  if (!library) return "matrix products: our own kernels (libcublasLt cannot be loaded)";
  const size_t version = library->version();
  return "matrix products: cuBLASLt " + std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) +
         "." + std::to_string(version % 100);
}

}  // namespace engine::cuda
