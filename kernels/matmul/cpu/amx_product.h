// Products of bf16 in the tile registers of processors that have AMX (matmul_amx.cc). Other instruction sets have none.
#pragma once

#include "core/arena.h"
#include "kernels/backend/backend.h"

namespace engine::ENGINE_ISA {

#if defined(__AVX512F__)
inline bool amx_available() { return cpu_has_bf16_matrix_units(); }
size_t amx_packed_bytes(int64_t k, int64_t n);
void amx_pack(const PackArgs& args);
void amx_matmul(const MatmulArgs& args, Arena& workspace);
#else
inline bool amx_available() { return false; }
inline size_t amx_packed_bytes(int64_t, int64_t) { return 0; }
inline void amx_pack(const PackArgs&) {}
inline void amx_matmul(const MatmulArgs&, Arena&) {}
#endif

}  // namespace engine::ENGINE_ISA
