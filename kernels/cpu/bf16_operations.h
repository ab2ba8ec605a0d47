// The functions of a Bf16Unit (bf16_unit.h), which the files *_bf16.cc define.
#pragma once

#include "kernels/cpu/bf16_unit.h"

namespace engine::ENGINE_ISA {

size_t bf16_packed_bytes(int64_t k, int64_t n);
void bf16_pack(const PackArgs& args);
void bf16_matmul(const MatmulArgs& args, Arena& workspace);
void bf16_attention_forward(const AttentionForwardArgs& args, int64_t width, Arena& workspace);
void bf16_attention_backward(const AttentionBackwardArgs& args, int64_t width, Arena& workspace);

}  // namespace engine::ENGINE_ISA
