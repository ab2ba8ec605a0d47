// The steps of an LSTM on the CPU. The sequences are ordered by length, the longest first, so that those that still run
// at a step are the first rows of every matrix of states. A step is a product over these rows and a loop over them with
// all that is element by element.
#include "kernels/lstm/lstm.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "core/parallel.h"
#include "kernels/checks.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/segments.h"
#include "kernels/cpu/vector_loop.h"
#include "kernels/elementwise/cpu/activation.h"

namespace engine::ENGINE_ISA {
namespace {

ENGINE_INLINE vfloat sigmoid(vfloat x) { return 1.0f / (1.0f + exp(-x)); }

// The sequences in the order of the matrices of states.
class LongestFirst {
 public:
  explicit LongestFirst(const Segments& segments)
      : begin_(segments.begin.as<int32_t>()), end_(segments.end.as<int32_t>()),
        order_(static_cast<size_t>(segments.count())) {
    std::iota(order_.begin(), order_.end(), 0);
    std::stable_sort(order_.begin(), order_.end(), [&](int64_t a, int64_t b) { return length_of(a) > length_of(b); });
  }

  int64_t sequences() const { return std::ssize(order_); }
  int64_t at(int64_t place) const { return order_[static_cast<size_t>(place)]; }
  int64_t begin(int64_t place) const { return begin_[at(place)]; }
  int64_t length(int64_t place) const { return length_of(at(place)); }
  int64_t steps() const { return order_.empty() ? 0 : length(0); }
  // Moves `running`, the number of sequences that have more than t rows, to that of this t.
  void find_running(int64_t t, int64_t& running) const {
    while (running > 0 && length(running - 1) <= t) --running;
    while (running < sequences() && length(running) > t) ++running;
  }

 private:
  int64_t length_of(int64_t s) const { return end_[s] - begin_[s]; }
  const int32_t *const begin_, *const end_;
  std::vector<int64_t> order_;
};

// Copies or clears a row of states.
template <class T>
void set_row(const float* from, int64_t width, T* to) {
  each_vector(width, [&](int64_t j, auto part) { store(to + j, from ? load(from + j, part) : vfloat{}, part); });
}

const float* row_of(const Tensor& states, int64_t row, int64_t width) {
  return states ? states.as<float>() + row * width : nullptr;
}
float* row_to(const Tensor& states, int64_t row, int64_t width) {
  return states ? states.as<float>() + row * width : nullptr;
}

// Takes one row from its sums to h and c. `recurrent` [4C] and c_before may be absent, and are 0 then. h goes to y and
// to the next step's product.
template <class T>
void forward_row(T* gates, const float* recurrent, const float* c_before, T* y, T* h, float* c, int64_t width) {
  each_vector(width, [&](int64_t j, auto part) {
    const auto sum = [&](int64_t gate) {
      const vfloat p = load(gates + gate * width + j, part);
      return recurrent ? p + load(recurrent + gate * width + j, part) : p;
    };
    const vfloat i = sigmoid(sum(0)), f = sigmoid(sum(1)), g = tanh(sum(2)), o = sigmoid(sum(3));
    const vfloat cell = (c_before ? f * load(c_before + j, part) : vfloat{}) + i * g;
    const vfloat out = o * tanh(cell);
    store(gates + j, i, part);
    store(gates + width + j, f, part);
    store(gates + 2 * width + j, g, part);
    store(gates + 3 * width + j, o, part);
    store(c + j, cell, part);
    store(y + j, out, part);
    store(h + j, out, part);
  });
}

// The same backward. dh and dc [C] hold what the next row gives, and dc becomes what this one gives to the row before.
// The gradient goes to dgates and to the product with W_hh.
template <class T, class Y>
void backward_row(const T* gates, const float* c, const float* c_before, const Y* dy, const float* dh, float* dc,
                  T* dgates, T* factors, int64_t width) {
  each_vector(width, [&](int64_t j, auto part) {
    const auto gate = [&](int64_t number) { return load(gates + number * width + j, part); };
    const vfloat i = gate(0), f = gate(1), g = gate(2), o = gate(3);
    const vfloat t = tanh(load(c + j, part)), before = c_before ? load(c_before + j, part) : vfloat{};
    const vfloat dout = load(dh + j, part) + load(dy + j, part);
    const vfloat dcell = load(dc + j, part) + dout * o * (1.0f - t * t);
    const auto put = [&](int64_t number, vfloat d) {
      store(dgates + number * width + j, d, part);
      store(factors + number * width + j, d, part);
    };
    put(0, dcell * g * i * (1.0f - i));
    put(1, dcell * before * f * (1.0f - f));
    put(2, dcell * i * (1.0f - g * g));
    put(3, dout * t * o * (1.0f - o));
    store(dc + j, dcell * f, part);
  });
}

// Returns how many rows a piece of work takes.
int64_t rows_of_piece(int64_t width) { return std::max<int64_t>(1, 1024 / width); }

}  // namespace

void CpuOps::lstm_forward(const LstmForwardArgs& args) {
  const int64_t width = args.weight.cols();
  const size_t bytes = packed_bytes(width, 4 * width, args.compute);
  check_lstm_forward(args, bytes);
  check_segments("lstm_forward", args.segments, args.y.rows());
  const LongestFirst order(args.segments);
  const int64_t sequences = order.sequences(), steps = order.steps();
  const ArenaScope scope(workspace_);
  const Tensor h = workspace_.make(args.y.dtype, {sequences, width});
  const Tensor sums = workspace_.make(DType::f32, {sequences, 4 * width});
  Tensor packed = args.packed_weight;
  if (!packed && steps > 1) {
    packed = workspace_.make(DType::u8, {static_cast<int64_t>(bytes)});
    pack_matrix({.b = args.weight, .transpose_b = true, .compute = args.compute, .packed = packed});
  }
  with_elements(args.gates, [&]<class T>(T* gates) {
    T *const y = args.y.as<T>(), *const states = h.as<T>();
    float* const c = args.c.as<float>();
    for (int64_t i = 0; args.first_h && i < sequences; ++i)
      set_row(row_of(args.first_h, order.at(i), width), width, states + i * width);
    int64_t running = sequences;
    for (int64_t t = 0; t < steps; ++t) {
      order.find_running(t, running);
      const bool multiplies = t > 0 || args.first_h;
      if (multiplies)
        matmul({.a = h.row_range(0, running),
                .b = args.weight,
                .c = sums.row_range(0, running),
                .transpose_b = true,
                .compute = args.compute,
                .packed_b = packed});
      parallel_chunks(running, rows_of_piece(width), [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) {
          const int64_t row = order.begin(i) + t;
          const float* const before = t > 0 ? c + (row - 1) * width : row_of(args.first_c, order.at(i), width);
          forward_row(gates + row * 4 * width, multiplies ? sums.as<float>() + i * 4 * width : nullptr, before,
                      y + row * width, states + i * width, c + row * width, width);
        }
      });
    }
    for (int64_t i = 0; args.last_h && i < sequences; ++i) {
      const int64_t s = order.at(i), last = order.begin(i) + order.length(i) - 1;
      const bool is_empty = order.length(i) == 0;
      float* const to = row_to(args.last_h, s, width);
      if (is_empty) set_row(row_of(args.first_h, s, width), width, to);
      else each_vector(width, [&](int64_t j, auto part) { store(to + j, load(y + last * width + j, part), part); });
      set_row(is_empty ? row_of(args.first_c, s, width) : c + last * width, width, row_to(args.last_c, s, width));
    }
  });
}

void CpuOps::lstm_backward(const LstmBackwardArgs& args) {
  check_lstm_backward(args);
  check_segments("lstm_backward", args.segments, args.y.rows());
  const LongestFirst order(args.segments);
  const int64_t width = args.weight.cols(), sequences = order.sequences(), steps = order.steps();
  const ArenaScope scope(workspace_);
  const Tensor dh = workspace_.make(DType::f32, {sequences, width}), dc = workspace_.make(DType::f32, dh.shape);
  const Tensor factors = workspace_.make(args.gates.dtype, {sequences, 4 * width});
  Tensor packed;
  if (steps > 1) {
    packed = workspace_.make(DType::u8, {static_cast<int64_t>(packed_bytes(4 * width, width, args.compute))});
    pack_matrix({.b = args.weight, .compute = args.compute, .packed = packed});
  }
  for (int64_t i = 0; i < sequences; ++i) {
    set_row(row_of(args.dlast_h, order.at(i), width), width, row_to(dh, i, width));
    set_row(row_of(args.dlast_c, order.at(i), width), width, row_to(dc, i, width));
  }
  with_elements(args.gates, [&]<class T>(const T* gates) {
    const T* const y = args.y.as<T>();
    const float* const c = args.c.as<float>();
    T *const dgates = args.dgates.as<T>(), *const h_before = args.h_before.as<T>();
    int64_t running = 0;
    for (int64_t t = steps; t-- > 0;) {
      order.find_running(t, running);
      with_elements(args.dy, [&](const auto* dy) {
        parallel_chunks(running, rows_of_piece(width), [&](int64_t first, int64_t last) {
          for (int64_t i = first; i < last; ++i) {
            const int64_t row = order.begin(i) + t, s = order.at(i);
            if (t > 0) std::copy_n(y + (row - 1) * width, width, h_before + row * width);
            else set_row(row_of(args.first_h, s, width), width, h_before + row * width);
            backward_row(gates + row * 4 * width, c + row * width,
                         t > 0 ? c + (row - 1) * width : row_of(args.first_c, s, width), dy + row * width,
                         dh.as<float>() + i * width, dc.as<float>() + i * width, dgates + row * 4 * width,
                         factors.as<T>() + i * 4 * width, width);
          }
        });
      });
      if (t > 0 || args.dfirst_h)
        matmul({.a = factors.row_range(0, running),
                .b = args.weight,
                .c = dh.row_range(0, running),
                .compute = args.compute,
                .packed_b = packed});
    }
  });
  for (int64_t i = 0; args.dfirst_h && i < sequences; ++i) {
    set_row(row_of(dh, i, width), width, row_to(args.dfirst_h, order.at(i), width));
    set_row(row_of(dc, i, width), width, row_to(args.dfirst_c, order.at(i), width));
  }
}

}  // namespace engine::ENGINE_ISA
