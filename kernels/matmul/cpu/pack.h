// Operands of a product, and their layout for the kernels. They lie in panels: a few rows of the operand side by side
// for every k, so that a kernel reads straight ahead whatever the transposes and dtypes are.
#pragma once

#include <algorithm>

#include "kernels/arguments.h"
#include "kernels/cpu/fetch_ahead.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/transpose.h"
#include "kernels/sizes.h"

namespace engine::ENGINE_ISA {

// Stands for op(a), or for op(b) transposed: `outer` rows (of c, or columns of c) by k. It is stored either with k
// contiguous, element (i, k) at i stride + k, or with i contiguous, at k stride + i.
struct Operand {
  const void* data;
  bool is_bf16, k_contiguous;
  int64_t outer, k, stride;

  static Operand left(const Tensor& a, bool transposed) {
    const int64_t rows = a.rows(), cols = a.cols();
    return {a.data, a.dtype == DType::bf16, !transposed, transposed ? cols : rows, transposed ? rows : cols, cols};
  }
  static Operand right(const Tensor& b, bool transposed) { return left(b, !transposed); }
};

// Fetches k = begin ... end-1 of `outer` rows of an operand, from the first one on, in so many calls. The second cache
// takes them, for the first holds what is multiplied.
inline FetchAhead<second_cache> operand_ahead(const Operand& from, int64_t first, int64_t outer, int64_t begin,
                                              int64_t end, int64_t calls) {
  const int64_t element = from.is_bf16 ? 2 : 4, terms = std::max<int64_t>(end - begin, 0);
  const int64_t row = from.k_contiguous ? first : begin, col = from.k_contiguous ? begin : first;
  FetchAhead<second_cache> ahead;
  ahead.add(static_cast<const char*>(from.data) + (row * from.stride + col) * element, from.stride * element,
            (from.k_contiguous ? terms : outer) * element, from.k_contiguous ? outer : terms);
  ahead.set_calls(calls);
  return ahead;
}

template <class T>
ENGINE_INLINE vfloat load_count(const T* p, int64_t count) {
  if (count >= lanes) [[likely]]
    return load(p);
  return count > 0 ? load_part<T>(p, static_cast<int>(count)) : vfloat{};
}
ENGINE_INLINE vfloat rounded_to_bf16(vfloat v) {
  const vint word = as_int(v);
  return as_float((word + 0x7fff + ((word >> 16) & 1)) & static_cast<int32_t>(0xffff0000u));
}

// Packs panel[k - begin][width] = rows first ... first+width-1 of the operand for k in begin ... end-1, with zeros
// where it has no such row.
template <int width, class T>
void pack_panel_f32(const Operand& from, int64_t first, int64_t begin, int64_t end, bool rounds, float* panel) {
  static_assert(width <= lanes || width % lanes == 0);
  constexpr int vectors = (width + lanes - 1) / lanes;
  const T* data = static_cast<const T*>(from.data);
  // If the width is no whole vector, a store spills into the next k, which is stored after it. The last store must not.
  const auto put = [&](int64_t k, int v, vfloat value) {
    float* const to = panel + (k - begin) * width + v * lanes;
    if (width % lanes == 0 || k + 1 < end) store(to, value);
    else store_part<float>(to, value, width % lanes);
  };
  const auto value = [&](vfloat v) { return rounds && sizeof(T) == 4 ? rounded_to_bf16(v) : v; };
  if (!from.k_contiguous) {
    for (int64_t k = begin; k < end; ++k)
      for (int v = 0; v < vectors; ++v) {
        const int64_t i = first + v * lanes, wanted = std::min<int64_t>(width - v * lanes, from.outer - i);
        // A whole vector may be read where the row goes on. Further elements are overwritten or lie beyond the panel.
        const bool whole = from.outer - i >= lanes;
        put(k, v, value(whole ? load(data + k * from.stride + i) : load_count(data + k * from.stride + i, wanted)));
      }
    return;
  }
  for (int64_t k = begin; k < end; k += lanes) {
    const int64_t count = std::min<int64_t>(lanes, end - k);
    for (int v = 0; v < vectors; ++v) {
      vfloat block[lanes];
      const int64_t i = first + v * lanes;
      if (count == lanes && from.outer - i >= lanes) {
        for (int r = 0; r < lanes; ++r) block[r] = value(load(data + (i + r) * from.stride + k));
      } else {
        for (int r = 0; r < lanes; ++r)
          block[r] = i + r < from.outer ? value(load_count(data + (i + r) * from.stride + k, count)) : vfloat{};
      }
      transpose(block);
      for (int r = 0; r < count; ++r) put(k + r, v, block[r]);
    }
  }
}

}  // namespace engine::ENGINE_ISA
