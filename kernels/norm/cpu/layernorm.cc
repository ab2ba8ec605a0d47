#include "kernels/norm/layernorm.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/parallel.h"
#include "kernels/checks.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/dropout.h"
#include "kernels/cpu/vector_loop.h"
#include "kernels/sizes.h"

namespace engine::ENGINE_ISA {
namespace {

// Returns how many rows make a piece of work: about 16 thousand elements, enough to pay for handing it out.
int64_t rows_a_chunk(int64_t cols) { return std::max<int64_t>(1, 16384 / cols); }
// Returns the rows of a chunk whose gain and bias gradients are summed together. There are at most 64 chunks.
int64_t rows_a_sum(int64_t rows, int64_t cols) { return std::max(rows_a_chunk(cols), ceil_div(rows, 64)); }

// Fetches a line some rows ahead with each vector. Rows are read once, several matrices at a time, and the processor's
// own prefetcher stops at the end of a page.
template <class T>
ENGINE_INLINE void fetch_ahead(const T* p) {
  constexpr int64_t elements_ahead = 2048;
  __builtin_prefetch(p + elements_ahead);
}

template <class X, class Y>
void forward_row(const LayerNormForwardArgs& args, int64_t n, const X* x, const float* residual, float* sum, Y* y,
                 DropoutFactors& factors) {
  const int64_t cols = args.gain.count();
  const int64_t element = (args.dropout.first_row + n) * cols;
  const float* gain = args.gain.as<float>();
  const float* bias = args.bias.as<float>();
  const float* s = sum;
  float total;
  if (x) {
    const bool drops = args.dropout.rate > 0;
    total = sum_over(cols, [&](int64_t i, auto part) {
      fetch_ahead(x + i);
      fetch_ahead(sum + i);
      if (residual) fetch_ahead(residual + i);
      vfloat v = load(x + i, part);
      if (drops) v *= factors.at(element + i);
      if (residual) v += load(residual + i, part);
      store(sum + i, v, part);
      return v;
    });
  } else {
    if (sum && sum != residual) std::memcpy(sum, residual, static_cast<size_t>(cols) * sizeof(float));
    s = residual;
    total = sum_over(cols, [&](int64_t i, auto part) {
      fetch_ahead(s + i);
      return load(s + i, part);
    });
  }
  const float mean = total / static_cast<float>(cols);
  const float squares = sum_over(cols, [&](int64_t i, auto part) {
    const vfloat distance = only(load(s + i, part) - mean, part);
    return distance * distance;
  });
  const float rstd = 1.0f / std::sqrt(squares / static_cast<float>(cols) + args.epsilon);
  each_vector(cols, [&](int64_t i, auto part) {
    fetch_ahead(y + i);
    const vfloat normed = (load(s + i, part) - mean) * rstd;
    const vfloat shift = bias ? load(bias + i, part) : vfloat{};
    store(y + i, normed * load(gain + i, part) + shift, part);
  });
  if (args.mean) args.mean.as<float>()[n] = mean;
  if (args.rstd) args.rstd.as<float>()[n] = rstd;
}

// Takes the gradients of a chunk's rows. dgain and dbias are this chunk's own sums.
template <class DY, class DX>
void backward_row(const LayerNormBackwardArgs& args, int64_t n, const DY* dy, DX* dx, float* dgain, float* dbias,
                  DropoutFactors& factors) {
  const int64_t cols = args.gain.count();
  const float* sum = args.sum.as<float>() + n * cols;
  const float* gain = args.gain.as<float>();
  float* dsum = args.dsum.as<float>() + n * cols;
  const float mean = args.mean.as<float>()[n], rstd = args.rstd.as<float>()[n];
  vfloat g_total{}, gn_total{};
  each_vector(cols, [&](int64_t i, auto part) {
    fetch_ahead(dy + i);
    fetch_ahead(sum + i);
    const vfloat d = load(dy + i, part), normed = (load(sum + i, part) - mean) * rstd, g = d * load(gain + i, part);
    g_total += g;
    gn_total += only(g * normed, part);
    store(dgain + i, load(dgain + i, part) + d * normed, part);
    store(dbias + i, load(dbias + i, part) + d, part);
  });
  const float g_mean = engine::ENGINE_ISA::sum(g_total) / static_cast<float>(cols);
  const float gn_mean = engine::ENGINE_ISA::sum(gn_total) / static_cast<float>(cols);
  const bool drops = args.dropout.rate > 0;
  const int64_t element = (args.dropout.first_row + n) * cols;
  each_vector(cols, [&](int64_t i, auto part) {
    const vfloat normed = (load(sum + i, part) - mean) * rstd;
    fetch_ahead(dsum + i);
    if (dx) fetch_ahead(dx + i);
    vfloat d = (load(dy + i, part) * load(gain + i, part) - g_mean - normed * gn_mean) * rstd;
    if (args.accumulate) d += load(dsum + i, part);
    store(dsum + i, d, part);
    if (!dx) return;
    if (drops) d *= factors.at(element + i);
    store(dx + i, d, part);
  });
}

// Adds the chunks' sums in their order: total[c] += the sums of column c.
void add_chunks(const float* chunks, int64_t count, int64_t stride, int64_t cols, float* total) {
  each_vector(cols, [&](int64_t i, auto part) {
    vfloat added{};
    for (int64_t chunk = 0; chunk < count; ++chunk) added += load(chunks + chunk * stride + i, part);
    store(total + i, load(total + i, part) + added, part);
  });
}

}  // namespace

void CpuOps::layernorm_forward(const LayerNormForwardArgs& args) {
  const auto [rows, cols] = check_layernorm(args);
  if (!rows) return;

  ArenaScope scope(workspace_);
  // If the caller keeps no sum, each thread has a row of its own for it.
  const Tensor row = args.sum ? Tensor{} : workspace_.make(DType::f32, {thread_count(), cols});
  const float* residual = args.residual.as<float>();
  with_elements(args.x, [&](auto* x) {
    with_elements(args.y, [&](auto* y) {
      parallel_chunks(rows, rows_a_chunk(cols), [&](int64_t begin, int64_t end) {
        DropoutFactors factors(args.dropout);
        for (int64_t n = begin; n < end; ++n) {
          float* sum = args.sum ? args.sum.as<float>() + n * cols
                     : x        ? row.as<float>() + thread_index() * cols
                                : nullptr;
          forward_row(args, n, x ? x + n * cols : x, residual ? residual + n * cols : residual, sum, y + n * cols,
                      factors);
        }
      });
    });
  });
}

void CpuOps::layernorm_backward(const LayerNormBackwardArgs& args) {
  const auto [rows, cols] = check_layernorm(args);
  if (!rows) return;

  ArenaScope scope(workspace_);
  const int64_t grain = rows_a_sum(rows, cols), chunks = (rows + grain - 1) / grain;
  const int64_t stride = (2 * cols + 15) / 16 * 16;
  float* sums = workspace_.make(DType::f32, {chunks, stride}).as<float>();
  with_elements(args.dy, [&](auto* dy) {
    with_elements(args.dx, [&](auto* dx) {
      parallel_for(chunks, [&](int64_t chunk) {
        DropoutFactors factors(args.dropout);
        float* dgain = sums + chunk * stride;
        std::memset(dgain, 0, static_cast<size_t>(stride) * sizeof(float));
        for (int64_t n = chunk * grain; n < std::min(rows, (chunk + 1) * grain); ++n)
          backward_row(args, n, dy + n * cols, dx ? dx + n * cols : dx, dgain, dgain + cols, factors);
      });
    });
  });
  parallel_chunks(cols, 256, [&](int64_t begin, int64_t end) {
    add_chunks(sums + begin, chunks, stride, end - begin, args.dgain.as<float>() + begin);
    if (args.dbias) add_chunks(sums + cols + begin, chunks, stride, end - begin, args.dbias.as<float>() + begin);
  });
}

}  // namespace engine::ENGINE_ISA
