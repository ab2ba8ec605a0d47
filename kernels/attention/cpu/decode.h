// Forward attention of few queries over many keys (attention/cpu/decode.cc).
#pragma once

#include "core/arena.h"
#include "kernels/ops.h"

namespace engine::ENGINE_ISA {

// With up to this many queries in each sequence, one pass over the keys for each query beats blocks of queries.
inline constexpr int64_t decode_queries = 4;

// Takes arguments that check_attention has passed. width is D.
void attention_decode(const AttentionForwardArgs& args, int64_t width, Arena& workspace);

}  // namespace engine::ENGINE_ISA
