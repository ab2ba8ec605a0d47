// Fetching a part of an operand before it is packed or multiplied. Its pieces of rows lie too far apart for the
// processor to see them coming.
#pragma once

#include <algorithm>

#include "kernels/matmul/cpu/pack.h"

namespace engine::ENGINE_ISA {

// Fetches k = begin ... end-1 of `outer` rows of an operand from the first one, a few lines at each of so many calls.
class FetchAhead {
 public:
  FetchAhead() = default;
  FetchAhead(const Operand& from, int64_t first, int64_t outer, int64_t begin, int64_t end, int64_t calls) {
    const int64_t element = from.is_bf16 ? 2 : 4, terms = std::max<int64_t>(end - begin, 0);
    const int64_t row = from.k_contiguous ? first : begin, col = from.k_contiguous ? begin : first;
    at_ = static_cast<const char*>(from.data) + (row * from.stride + col) * element;
    stride_ = from.stride * element;
    row_lines_ = ceil_div((from.k_contiguous ? terms : outer) * element, 64);
    lines_ = row_lines_ * (from.k_contiguous ? outer : terms);
    lines_a_call_ = ceil_div(lines_, std::max<int64_t>(calls, 1));
  }
  ENGINE_INLINE void some() {
    for (int64_t i = std::min(lines_a_call_, lines_); i > 0; --i, --lines_) {
      __builtin_prefetch(at_ + line_ * 64, 0, 2);  // into the second cache: the first holds what is multiplied
      if (++line_ == row_lines_) line_ = 0, at_ += stride_;
    }
  }

 private:
  const char* at_ = nullptr;
  int64_t stride_ = 0, row_lines_ = 0, lines_ = 0, lines_a_call_ = 0, line_ = 0;
};

}  // namespace engine::ENGINE_ISA
