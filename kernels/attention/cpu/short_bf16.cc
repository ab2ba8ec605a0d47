#include "kernels/attention/cpu/short_attention.h"

#include "kernels/attention/cpu/bf16_tile.h"

namespace engine::ENGINE_ISA {

namespace {

// A head's columns of some rows of a bf16 matrix.
struct HeadRows {
  const bf16* first;
  int64_t stride, count;

  HeadRows(const Columns& columns, int64_t row, int64_t head, int64_t width, int64_t count_)
      : first(static_cast<const bf16*>(columns.matrix.data) + row * columns.matrix.cols() + columns.begin +
              head * width),
        stride(columns.matrix.cols()),
        count(count_) {}
  // Returns the words 16 i ... 16 i + 15 of a row, zeros behind the last row.
  ENGINE_INLINE vbf16_pair words(int64_t row, int64_t i) const {
    vbf16_pair result{};
    if (row < count) std::memcpy(&result, first + row * stride + i * 2 * lanes, sizeof result);
    return result;
  }
};

// Return words of pairs of two rows, with the first row in the lower halves: the first 16 pairs, and the other 16.
ENGINE_INLINE vbf16_pair first_pairs(vbf16_pair row, vbf16_pair next) {
  vbf16_pair order;
  for (uint16_t i = 0; i < 32; ++i) order[i] = static_cast<uint16_t>(i / 2 + i % 2 * 32);
  return __builtin_shuffle(row, next, order);
}
ENGINE_INLINE vbf16_pair last_pairs(vbf16_pair row, vbf16_pair next) {
  vbf16_pair order;
  for (uint16_t i = 0; i < 32; ++i) order[i] = static_cast<uint16_t>(16 + i / 2 + i % 2 * 32);
  return __builtin_shuffle(row, next, order);
}

// Reads right operands of the rows: `across` [width/2][32], whose depth is the width, and `pairs` [16][width], whose
// depth are the rows. Either may be null.
void read_right_operands(const HeadRows& rows, int64_t width, uint32_t* across, uint32_t* pairs) {
  for (int64_t first = 0; first < short_rows; first += lanes) {
    if (first >= rows.count && !pairs) return;
    for (int64_t i = 0; i < width / 2 / lanes; ++i) {
      vfloat row[lanes];
#pragma GCC unroll 16
      for (int r = 0; r < lanes; ++r) row[r] = reinterpret_cast<vfloat>(rows.words(first + r, i));
      if (pairs) {
        uint32_t* to = pairs + first / 2 * width + i * 2 * lanes;
#pragma GCC unroll 16
        for (int r = 0; r < lanes; r += 2, to += width) {
          const auto one = reinterpret_cast<vbf16_pair>(row[r]), next = reinterpret_cast<vbf16_pair>(row[r + 1]);
          store_words(to, first_pairs(one, next));
          store_words(to + lanes, last_pairs(one, next));
        }
      }
      if (across && first < rows.count) {
        transpose(row);
#pragma GCC unroll 16
        for (int r = 0; r < lanes; ++r)
          store(reinterpret_cast<float*>(across + (i * lanes + r) * short_rows + first), row[r]);
      }
    }
  }
}

// A left operand [rounded_up(count, 16)][width]. It is read in place, unless the matrix ends before.
struct LeftOperand {
  const bf16* first;
  int64_t stride;

  LeftOperand(const Columns& columns, int64_t row, int64_t head, int64_t width, int64_t count, bf16* copy) {
    const HeadRows rows(columns, row, head, width, count);
    first = rows.first;
    stride = rows.stride;
    if (row + rounded_up(count, lanes) <= columns.matrix.rows()) return;
    read_rows(columns, row, head, width, count, copy, rounded_up(count, lanes), width);
    first = copy;
    stride = width;
  }
};

// Writes to [queries][32 keys] from words [16][32 queries] of pairs of keys.
void queries_down(const uint32_t* words, int64_t queries, bf16* to) {
  transpose_matrix(reinterpret_cast<const float*>(words), short_rows / 2, rounded_up(queries, lanes),
                   reinterpret_cast<float*>(to), short_rows, short_rows / 2);
}

// Clears the pairs of keys that no query sees.
void clear_words(uint32_t* words, int64_t first, int vectors) {
  for (int64_t j = first; j < short_rows / 2; ++j)
    for (int v = 0; v < vectors; ++v) store_words(words + j * short_rows + v * lanes, vbf16_pair{});
}

// Writes the head's columns of `count` rows = factor(row) from [count][width].
template <class Factor>
void write_products(const Columns& columns, int64_t row, int64_t head, int64_t width, int64_t count, const float* from,
                    const Factor& factor) {
  with_head(columns, row, head, width, [&](auto* to, int64_t stride) {
    for (int64_t r = 0; r < count; ++r) {
      const vfloat by = splat(factor(r));
      for (int64_t d = 0; d < width; d += 2 * lanes) {
        const vfloat first = load(from + r * width + d) * by, second = load(from + r * width + d + lanes) * by;
        if constexpr (sizeof *to == 2) {
          const vbf16_pair both = rounded(first, second);
          std::memcpy(static_cast<void*>(to + r * stride + d), &both, sizeof both);
        } else {
          store(to + r * stride + d, first);
          store(to + r * stride + d + lanes, second);
        }
      }
    }
  });
}

// Some heads that are taken side by side, and the rows of the next ones, which are fetched meanwhile.
template <class Memory>
struct Group {
  const AttentionSpan& span;
  int64_t first, count, width;
  const Memory* at;
  TileSizes keys;
  int64_t queries;  // whole vectors of queries
  FetchAhead<> ahead;

  // Calls body(head, its memory) for each head.
  template <class Body>
  void each(const Body& body) const {
    for (int64_t i = 0; i < count; ++i) body(first + i, at[i]);
  }
};

template <class Memory, class Body>
void each_group(const AttentionSpan& span, int64_t first_head, int64_t last_head, int64_t width, const Memory* at,
                std::initializer_list<std::pair<Columns, bool>> parts, const Body& body) {
  const int64_t together = heads_together(width, Memory::most_together);
  for (int64_t first = first_head; first < last_head; first += together) {
    Group<Memory> group{span,
                        first,
                        std::min(together, last_head - first),
                        width,
                        at,
                        TileSizes(span.keys),
                        rounded_up(span.queries, lanes),
                        {}};
    const int64_t next = first + together, next_count = std::min(together, last_head - next);
    for (const auto& [part, of_keys] : parts)
      if (next_count > 0)
        add_rows(group.ahead, part, of_keys ? span.key_begin : span.query_begin, next * width, next_count * width, 0,
                        of_keys ? span.keys : span.queries);
    group.ahead.set_calls(group.count * ceil_div(span.keys, 4) * (group.queries / lanes));
    body(group);
  }
}

template <bool drops>
void forward_group(const AttentionForwardArgs& a, Group<ShortForward>& group) {
  const AttentionSpan& span = group.span;
  const int64_t width = group.width, row = span.query_begin;
  group.each([&](int64_t head, const ShortForward& at) {
    read_right_operands(HeadRows(a.q, row, head, width, span.queries), width, at.q_across, nullptr);
    read_right_operands(HeadRows(a.v, span.key_begin, head, width, span.keys), width, nullptr, at.value_pairs);
  });
  group.each([&](int64_t head, const ShortForward& at) {
    const LeftOperand keys(a.k, span.key_begin, head, width, span.keys, at.keys);
    tile_product<false>(keys.first, keys.stride, at.q_across, short_rows, at.scores, query_block, group.keys.rows,
                        group.queries, width);
  });
  const DropoutTile dropout{a.dropout};
  group.each([&](int64_t head, const ShortForward& at) {
    const QueryBlock block(span, 0, a.causal, a.dropout, a.heads, head);
    for (int v = 0; v < block.vectors; ++v) {
      RunningSoftmax running;
      uint32_t* words = at.p_words + v * lanes;
      softmax_step<drops>(at.scores, group.keys.fours, 0, a.scale, block, v, dropout, running,
                          [&](int64_t j, const vfloat(&p)[4]) {
                            group.ahead.some();
                            store_words(words + j / 2 * short_rows, interleaved(rounded(p[0], p[1])));
                            store_words(words + (j / 2 + 1) * short_rows, interleaved(rounded(p[2], p[3])));
                          });
      float* lse = a.lse ? a.lse.as<float>() + (row + v * lanes) * a.heads + head : nullptr;
      store(at.factor + v * lanes, finish_softmax(running, lse, a.heads, block.count - v * lanes));
    }
    clear_words(at.p_words, group.keys.fours / 2, block.vectors);
    queries_down(at.p_words, span.queries, at.p);
  });
  group.each([&](int64_t, const ShortForward& at) {
    tile_product<false>(at.p, short_rows, at.value_pairs, width, at.y, width, group.queries, width, short_rows);
  });
  group.each([&](int64_t head, const ShortForward& at) {
    write_products(a.y, row, head, width, span.queries, at.y, [&](int64_t r) { return at.factor[r]; });
  });
}

// Takes the gradient as softmax_gradient does, with delta from the probabilities: sum_l P_il dP_il.
template <bool drops>
void short_softmax_gradient(const AttentionBackwardArgs& a, const QueryBlock& block, const float* lse, int64_t fours,
                            const ShortBackward& at, FetchAhead<>& ahead) {
  const DropoutTile dropout{a.dropout};
  const float scale = a.scale * scores_to_log2;
  // A row has 32 queries, or 16 and zeros.
  const auto store_queries = [&](bf16 * to, int v, vfloat value) __attribute__((always_inline)) {
    const vbf16_pair both = rounded(value, vfloat{});
    if (block.vectors == 1) std::memcpy(static_cast<void*>(to), &both, sizeof both);
    else std::memcpy(static_cast<void*>(to + v * lanes), &both, sizeof both / 2);
  };
  for (int v = 0; v < block.vectors; ++v) {
    const QueryLanes& queries = block.part[v];
    float lse_of[lanes] = {};
    for (int64_t i = 0; i < std::min<int64_t>(lanes, block.count - v * lanes); ++i)
      lse_of[i] = lse[(v * lanes + i) * a.heads];
    const vfloat of_lanes = load(lse_of);
    // A query that sees nothing has lse = -infinity, and all its keys are masked.
    const vfloat shift = of_lanes == -std::numeric_limits<float>::infinity() ? vfloat{} : of_lanes * scores_to_log2;
    vfloat delta{};
    each_four_keys(
        block, 0, fours, [&](int64_t j, auto masked) __attribute__((always_inline)) {
          vfloat factor[4];
          if constexpr (drops) dropout.factors(queries, j, factor);
          ahead.some();
          for (int w = 0; w < 4; ++w) {
            const int64_t place = (j + w) * query_block + v * lanes;
            const vfloat p = seen(masked, exp2(load(at.scores + place) * scale - shift), j + w, queries, vfloat{});
            vfloat gradient = seen(masked, load(at.dp + place), j + w, queries, vfloat{});
            if constexpr (drops) gradient *= factor[w];
            delta += p * gradient;
            store(at.scores + place, p);
            store(at.dp + place, gradient);
            if constexpr (drops) store_queries(at.p + (j + w) * short_rows, v, p * factor[w]);
            else store_queries(at.p + (j + w) * short_rows, v, p);
          }
        });
    for (int64_t j = 0; j < fours; j += 2) {
      const int64_t place = j * query_block + v * lanes;
      const vfloat first = load(at.scores + place) * (load(at.dp + place) - delta);
      const vfloat second = load(at.scores + place + query_block) * (load(at.dp + place + query_block) - delta);
      store_queries(at.ds + j * short_rows, v, first);
      store_queries(at.ds + (j + 1) * short_rows, v, second);
      store_words(at.ds_words + j / 2 * short_rows + v * lanes, interleaved(rounded(first, second)));
    }
  }
  clear_words(at.ds_words, fours / 2, block.vectors);
}

template <bool drops>
void backward_group(const AttentionBackwardArgs& a, Group<ShortBackward>& group) {
  const AttentionSpan& span = group.span;
  const int64_t width = group.width, row = span.query_begin, keys = group.keys.rows;
  group.each([&](int64_t head, const ShortBackward& at) {
    read_right_operands(HeadRows(a.q, row, head, width, span.queries), width, at.q_across, at.q_pairs);
    read_right_operands(HeadRows(a.dy, row, head, width, span.queries), width, at.dy_across, at.dy_pairs);
    read_right_operands(HeadRows(a.k, span.key_begin, head, width, span.keys), width, nullptr, at.key_pairs);
  });
  group.each([&](int64_t head, const ShortBackward& at) {
    const LeftOperand k(a.k, span.key_begin, head, width, span.keys, at.keys);
    const LeftOperand v(a.v, span.key_begin, head, width, span.keys, at.values);
    tile_product<false>(k.first, k.stride, at.q_across, short_rows, at.scores, query_block, keys, group.queries, width);
    tile_product<false>(v.first, v.stride, at.dy_across, short_rows, at.dp, query_block, keys, group.queries, width);
  });
  group.each([&](int64_t head, const ShortBackward& at) {
    const QueryBlock block(span, 0, a.causal, a.dropout, a.heads, head);
    const float* lse = a.lse.as<float>() + row * a.heads + head;
    short_softmax_gradient<drops>(a, block, lse, group.keys.fours, at, group.ahead);
    queries_down(at.ds_words, span.queries, at.ds_rows);
  });
  group.each([&](int64_t, const ShortBackward& at) {
    tile_product<false>(at.p, short_rows, at.dy_pairs, width, at.dv, width, keys, width, short_rows);
    tile_product<false>(at.ds, short_rows, at.q_pairs, width, at.dk, width, keys, width, short_rows);
    tile_product<false>(at.ds_rows, short_rows, at.key_pairs, width, at.dq, width, group.queries, width, short_rows);
  });
  group.each([&](int64_t head, const ShortBackward& at) {
    const auto scale = [&](int64_t) { return a.scale; };
    write_products(a.dq, row, head, width, span.queries, at.dq, scale);
    write_products(a.dk, span.key_begin, head, width, span.keys, at.dk, scale);
    write_products(a.dv, span.key_begin, head, width, span.keys, at.dv, [](int64_t) { return 1.0f; });
  });
}

}  // namespace

ShortForward::ShortForward(ThreadMemory& of, int64_t width) {
  keys = of.take<bf16>(short_rows * width);
  q_across = of.take<uint32_t>(short_rows * width / 2);
  value_pairs = of.take<uint32_t>(short_rows / 2 * width);
  scores = of.take<float>(short_rows * query_block);
  p_words = of.take<uint32_t>(short_rows / 2 * short_rows);
  p = of.take<bf16>(short_rows * short_rows);
  y = of.take<float>(short_rows * width);
  factor = of.take<float>(short_rows);
}

ShortBackward::ShortBackward(ThreadMemory& of, int64_t width) {
  for (bf16** part : {&keys, &values}) *part = of.take<bf16>(short_rows * width);
  for (uint32_t** part : {&q_across, &dy_across, &q_pairs, &dy_pairs, &key_pairs})
    *part = of.take<uint32_t>(short_rows * width / 2);
  for (float** part : {&scores, &dp}) *part = of.take<float>(short_rows * query_block);
  for (bf16** part : {&p, &ds, &ds_rows}) *part = of.take<bf16>(short_rows * short_rows);
  ds_words = of.take<uint32_t>(short_rows / 2 * short_rows);
  for (float** part : {&dq, &dk, &dv}) *part = of.take<float>(short_rows * width);
}

void short_attention_forward(const AttentionForwardArgs& a, const AttentionSpan& span, int64_t first_head,
                             int64_t last_head, int64_t width, const ShortForward* at) {
  each_group(span, first_head, last_head, width, at, {{a.q, false}, {a.k, true}, {a.v, true}},
             [&](Group<ShortForward>& group) {
               with_flag(a.dropout.rate > 0, [&](auto drops) { forward_group<drops.value>(a, group); });
             });
}

void short_attention_backward(const AttentionBackwardArgs& a, const AttentionSpan& span, int64_t first_head,
                              int64_t last_head, int64_t width, const ShortBackward* at) {
  each_group(span, first_head, last_head, width, at, {{a.q, false}, {a.dy, false}, {a.k, true}, {a.v, true}},
             [&](Group<ShortBackward>& group) {
               with_flag(a.dropout.rate > 0, [&](auto drops) { backward_group<drops.value>(a, group); });
             });
}

}  // namespace engine::ENGINE_ISA
