// Forward attention of few queries over many keys (attention/cpu/decode.cc).
#pragma once

#include "core/arena.h"
#include "kernels/ops.h"

namespace engine::ENGINE_ISA {

// Up to this many queries in each sequence, going over the keys once a query beats filling blocks of queries.
inline constexpr int64_t decode_queries = 4;

// Arguments as check_attention let them pass; width is D.
void attention_decode(const AttentionForwardArgs& args, int64_t width, Arena& workspace);

}  // namespace engine::ENGINE_ISA
