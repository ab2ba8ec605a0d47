// Attention of short sequences on bf16: up to 32 queries and 32 keys, so that the scores of a head are one block and
// nothing goes on from one tile to the next. A head is then a chain of steps that each wait for the one before (a
// stored tile cannot be loaded at once). So several heads go through every step side by side.
#pragma once

#include "kernels/attention/cpu/driver.h"

namespace engine::ENGINE_ISA {

inline constexpr int64_t short_rows = 32;  // the most queries or keys
static_assert(short_rows == query_block);

// Tells whether these functions take a sequence's heads.
inline bool is_short(const AttentionSpan& span, int64_t width) {
  return 0 < span.queries && span.queries <= short_rows && 0 < span.keys && span.keys <= short_rows && width % 32 == 0;
}
// Returns how many heads go side by side. Their memory should stay in the nearest cache.
inline int64_t heads_together(int64_t width, int64_t most) { return std::clamp<int64_t>(32 * most / width, 1, most); }

struct ShortForward {
  static constexpr int64_t most_together = 6;
  bf16* keys;             // [32][width], a copy where the rows cannot be read in place
  uint32_t* q_across;     // [width/2][32]
  uint32_t* value_pairs;  // [16][width]
  float* scores;          // [32 keys][32 queries]
  uint32_t* p_words;      // [16][32 queries]: pairs of keys
  bf16* p;                // [32 queries][32 keys]
  float* y;               // [32][width]
  float* factor;          // [32], factor of each query's y

  ShortForward() = default;
  ShortForward(ThreadMemory& of, int64_t width);
};

struct ShortBackward {
  static constexpr int64_t most_together = 6;
  bf16 *keys, *values;                       // [32][width], copies where the rows cannot be read in place
  uint32_t *q_across, *dy_across;            // [width/2][32]
  uint32_t *q_pairs, *dy_pairs, *key_pairs;  // [16][width]
  float *scores, *dp;                        // [32 keys][32 queries]
  bf16 *p, *ds;                              // [32 keys][32 queries]
  uint32_t* ds_words;                        // [16][32 queries]: pairs of keys
  bf16* ds_rows;                             // [32 queries][32 keys]
  float *dq, *dk, *dv;                       // [32][width]

  ShortBackward() = default;
  ShortBackward(ThreadMemory& of, int64_t width);
};

// Take the heads first_head ... last_head-1 of a sequence that is_short. The thread has tile registers, and `at` has
// the memory of heads_together heads.
void short_attention_forward(const AttentionForwardArgs& args, const AttentionSpan& span, int64_t first_head,
                             int64_t last_head, int64_t width, const ShortForward* at);
void short_attention_backward(const AttentionBackwardArgs& args, const AttentionSpan& span, int64_t first_head,
                              int64_t last_head, int64_t width, const ShortBackward* at);

}  // namespace engine::ENGINE_ISA
