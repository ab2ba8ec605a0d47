// A Bf16Unit stands for what a processor has for products of bf16: tile registers (AMX), or dot products of pairs in
// vectors (AVX512_BF16). The files *_bf16.cc are compiled once for each, in namespaces of their own (amx, avx512_bf16).
#pragma once

#include "core/arena.h"
#include "kernels/arguments.h"
#include "kernels/attention/attention.h"
#include "kernels/matmul/matmul.h"

namespace engine {

// The operations that such a unit takes over where they compute in bf16. Their arguments have been checked.
struct Bf16Unit {
  size_t (*packed_bytes)(int64_t k, int64_t n);
  void (*pack)(const PackArgs& args);
  void (*matmul)(const MatmulArgs& args, Arena& workspace);  // c has elements
  // Attention whose q, k and v are bf16; width is D.
  void (*attention_forward)(const AttentionForwardArgs& args, int64_t width, Arena& workspace);
  void (*attention_backward)(const AttentionBackwardArgs& args, int64_t width, Arena& workspace);

  // Tells whether it takes this attention.
  template <class Args>
  static bool takes(const Args& a) {
    const auto is_bf16 = [](const Columns& part) { return part.matrix.dtype == DType::bf16; };
    return is_bf16(a.q) && is_bf16(a.k) && is_bf16(a.v);
  }
};

}  // namespace engine
