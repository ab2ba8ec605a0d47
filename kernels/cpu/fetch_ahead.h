// Fetches memory into a cache before it is read. The processor's own prefetchers do not see rows that lie far apart.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/simd.h"
#include "kernels/sizes.h"

namespace engine::ENGINE_ISA {

// The cache that lines are fetched into, as __builtin_prefetch names it.
inline constexpr int first_cache = 3, second_cache = 2;

// Fetches the rows of some parts of memory one after the other, a few cache lines at each of many calls. Many lines at
// once would wait for each other and hold up the loads of the calculation.
template <int cache = first_cache>
class FetchAhead {
 public:
  // Adds `rows` rows of row_bytes bytes, `stride` bytes apart. It holds eight parts and leaves out any further ones.
  void add(const void* first, int64_t stride, int64_t row_bytes, int64_t rows) {
    if (rows <= 0 || row_bytes <= 0 || parts_ == most_parts) return;
    const int64_t row_lines = ceil_div(row_bytes, 64);
    part_[parts_++] = {static_cast<const char*>(first), stride, row_lines, rows};
    lines_ += row_lines * rows;
  }
  // Sets how many calls of some() fetch all lines.
  void set_calls(int64_t calls) { lines_a_call_ = ceil_div(lines_, std::max<int64_t>(calls, 1)); }
  // Fetches the next lines. It is always inline, for gcc takes a function that only prefetches for one without effect
  // and drops calls of it.
  ENGINE_INLINE void some() {
    for (int64_t i = lines_a_call_; i > 0 && next_ < parts_; --i) {
      Part& part = part_[next_];
      __builtin_prefetch(part.at + line_ * 64, 0, cache);
      if (++line_ < part.row_lines) continue;
      line_ = 0;
      part.at += part.stride;
      if (--part.rows == 0) ++next_;
    }
  }
  // Fetches the first two lines of the next row. Where every row has two, this is some() in fewer instructions, which
  // count in the inner loop of a product.
  ENGINE_INLINE void two_lines() {
    if (next_ == parts_) return;
    Part& part = part_[next_];
    __builtin_prefetch(part.at, 0, cache);
    __builtin_prefetch(part.at + 64, 0, cache);
    part.at += part.stride;
    if (--part.rows == 0) ++next_;
  }

 private:
  struct Part {
    const char* at;
    int64_t stride, row_lines, rows;
  };
  static constexpr int most_parts = 8;
  Part part_[most_parts];
  int parts_ = 0, next_ = 0;
  int64_t line_ = 0, lines_ = 0, lines_a_call_ = 0;
};

}  // namespace engine::ENGINE_ISA
