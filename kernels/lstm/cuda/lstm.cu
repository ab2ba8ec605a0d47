// The steps of an LSTM on a device. A step is a product over the states of all sequences and a kernel for all that is
// element by element, of which a block takes some columns of a sequence. It passes over sequences that have ended. The
// host knows the number of steps alone, so a captured pass serves for other lengths of as many.
#include "kernels/lstm/lstm.h"

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/segments.h"
#include "kernels/cuda/vector.h"
#include "kernels/sizes.h"

namespace engine::cuda {
namespace {

constexpr int threads = 128;

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

// Reads `width` floats, or gives zeros where the matrix is absent.
template <int width>
__device__ __forceinline__ void load_or_zero(const float* from, int64_t at, float (&to)[width]) {
  if (from) {
    load_floats(from + at, to);
    return;
  }
  ENGINE_UNROLL
  for (int k = 0; k < width; ++k) to[k] = 0.0f;
}

// Copies rows of states, or clears them, for sequences before their first row. Either target may be absent.
template <class T, int width>
__global__ void __launch_bounds__(threads)
    begin_kernel(const float* h, const float* c, T* states, float* to_h, float* to_c, int64_t elements) {
  const int64_t at = (int64_t{blockIdx.x} * threads + threadIdx.x) * width;
  if (at >= elements) return;
  float values[width];
  load_or_zero(h, at, values);
  if (states) store_floats(states + at, values);
  if (to_h) store_floats(to_h + at, values);
  load_or_zero(c, at, values);
  if (to_c) store_floats(to_c + at, values);
}

template <class T>
struct ForwardStep {
  T* gates;
  const float* recurrent;  // [S, 4C] sums, or null
  const float* first_c;    // or null
  T *y, *states;           // states: h of each sequence
  float *c, *last_h, *last_c;
  int cols, t;
};

template <class T, int width>
__global__ void __launch_bounds__(threads) forward_kernel(const ForwardStep<T> a, const SegmentRows segments) {
  const int s = static_cast<int>(blockIdx.x), column = static_cast<int>(blockIdx.y * threads + threadIdx.x) * width;
  if (!is_inside(segments, s) || column >= a.cols) return;
  const int length = segments.end[s] - segments.begin[s];
  if (a.t >= length) return;
  const int64_t row = segments.begin[s] + a.t, at = row * a.cols + column, of_state = int64_t{s} * a.cols + column;
  T* const gates = a.gates + row * 4 * a.cols + column;
  float p[4][width], cell[width], h[width];
  ENGINE_UNROLL
  for (int gate = 0; gate < 4; ++gate) load_floats(gates + gate * a.cols, p[gate]);
  if (a.recurrent) {
    const float* const more = a.recurrent + int64_t{s} * 4 * a.cols + column;
    ENGINE_UNROLL
    for (int gate = 0; gate < 4; ++gate) {
      float part[width];
      load_floats(more + gate * a.cols, part);
      ENGINE_UNROLL
      for (int k = 0; k < width; ++k) p[gate][k] += part[k];
    }
  }
  if (a.t > 0) load_floats(a.c + at - a.cols, cell);
  else load_or_zero(a.first_c, of_state, cell);
  ENGINE_UNROLL
  for (int k = 0; k < width; ++k) {
    ENGINE_UNROLL
    for (int gate = 0; gate < 4; ++gate) p[gate][k] = gate == 2 ? tanhf(p[gate][k]) : sigmoid(p[gate][k]);
    cell[k] = p[1][k] * cell[k] + p[0][k] * p[2][k];
    h[k] = p[3][k] * tanhf(cell[k]);
  }
  ENGINE_UNROLL
  for (int gate = 0; gate < 4; ++gate) store_floats(gates + gate * a.cols, p[gate]);
  store_floats(a.c + at, cell);
  store_floats(a.y + at, h);
  store_floats(a.states + of_state, h);
  if (a.t + 1 < length) return;
  ENGINE_UNROLL
  for (int k = 0; k < width; ++k) h[k] = to_float(from_float<T>(h[k]));  // as y has it
  if (a.last_h) store_floats(a.last_h + of_state, h);
  if (a.last_c) store_floats(a.last_c + of_state, cell);
}

template <class T, class Y>
struct BackwardStep {
  const T *gates, *y;
  const float *c, *first_h, *first_c;  // first_h and first_c may be null
  const Y* dy;
  const float *dlast_h, *dlast_c;      // may be null
  const float* dh;                     // [S, C] from the row behind, for sequences that have one
  float* dc;
  T *dgates, *factors, *h_before;      // factors: dgates of each sequence's row, [S, 4C]
  int cols, t;
};

template <class T, class Y, int width>
__global__ void __launch_bounds__(threads) backward_kernel(const BackwardStep<T, Y> a, const SegmentRows segments) {
  const int s = static_cast<int>(blockIdx.x), column = static_cast<int>(blockIdx.y * threads + threadIdx.x) * width;
  if (!is_inside(segments, s) || column >= a.cols) return;
  const int length = segments.end[s] - segments.begin[s];
  if (a.t >= length) return;
  const bool is_last = a.t + 1 == length;
  const int64_t row = segments.begin[s] + a.t, at = row * a.cols + column, of_state = int64_t{s} * a.cols + column;
  float before[width], dh[width], dc[width], part[width];
  if (a.t > 0) load_floats(a.y + at - a.cols, before);
  else load_or_zero(a.first_h, of_state, before);
  store_floats(a.h_before + at, before);
  if (a.t > 0) load_floats(a.c + at - a.cols, before);
  else load_or_zero(a.first_c, of_state, before);
  load_or_zero(is_last ? a.dlast_h : a.dh, of_state, dh);
  load_or_zero(is_last ? a.dlast_c : a.dc, of_state, dc);
  load_floats(a.dy + at, part);
  ENGINE_UNROLL
  for (int k = 0; k < width; ++k) dh[k] += part[k];
  const T* const gates = a.gates + row * 4 * a.cols + column;
  float p[4][width];
  ENGINE_UNROLL
  for (int gate = 0; gate < 4; ++gate) load_floats(gates + gate * a.cols, p[gate]);
  load_floats(a.c + at, part);
  ENGINE_UNROLL
  for (int k = 0; k < width; ++k) {
    const float i = p[0][k], f = p[1][k], g = p[2][k], o = p[3][k], tanh_c = tanhf(part[k]);
    const float dcell = dc[k] + dh[k] * o * (1.0f - tanh_c * tanh_c);
    p[0][k] = dcell * g * i * (1.0f - i);
    p[1][k] = dcell * before[k] * f * (1.0f - f);
    p[2][k] = dcell * i * (1.0f - g * g);
    p[3][k] = dh[k] * tanh_c * o * (1.0f - o);
    dc[k] = dcell * f;
  }
  T *const dgates = a.dgates + row * 4 * a.cols + column, *const factors = a.factors + of_state * 4 - column * 3;
  ENGINE_UNROLL
  for (int gate = 0; gate < 4; ++gate) {
    store_floats(dgates + gate * a.cols, p[gate]);
    store_floats(factors + gate * a.cols, p[gate]);
  }
  store_floats(a.dc + of_state, dc);
}

// Writes the gradients of the states before the sequences. A sequence of no rows gives those behind it.
struct BackwardEnd {
  const float *dh, *dc, *dlast_h, *dlast_c;
  float *dfirst_h, *dfirst_c;
  int cols;
};
template <int width>
__global__ void __launch_bounds__(threads) end_kernel(const BackwardEnd a, const SegmentRows segments) {
  const int s = static_cast<int>(blockIdx.x), column = static_cast<int>(blockIdx.y * threads + threadIdx.x) * width;
  if (!is_inside(segments, s) || column >= a.cols) return;
  const bool is_empty = segments.begin[s] == segments.end[s];
  const int64_t at = int64_t{s} * a.cols + column;
  float values[width];
  load_or_zero(is_empty ? a.dlast_h : a.dh, at, values);
  store_floats(a.dfirst_h + at, values);
  load_or_zero(is_empty ? a.dlast_c : a.dc, at, values);
  store_floats(a.dfirst_c + at, values);
}

// Returns a step's product c = a op(b). (nvcc hands designated initialisers on without their names.)
MatmulArgs product_of(const Tensor& a, const Tensor& b, bool transpose_b, DType compute, const Tensor& packed_b,
                      const Tensor& c) {
  MatmulArgs product{};
  product.a = a;
  product.b = b;
  product.c = c;
  product.transpose_b = transpose_b;
  product.compute = compute;
  product.packed_b = packed_b;
  return product;
}

dim3 grid_of(int64_t sequences, int64_t cols, int width) {
  return blocks(sequences, ceil_div(cols, int64_t{threads} * width));
}

}  // namespace

void CudaOps::lstm_forward(const LstmForwardArgs& a) {
  const Operation operation("lstm_forward", {a.gates, a.weight});
  const int64_t cols = a.weight.cols(), sequences = a.segments.count(), steps = a.segments.longest;
  const size_t bytes = packed_bytes(cols, 4 * cols, a.compute);
  check_lstm_forward(a, bytes);
  if (!sequences) return;
  const ArenaScope scope(workspace_);
  const Tensor states = workspace_.make(a.y.dtype, {sequences, cols});
  const Tensor sums = workspace_.make(DType::f32, {sequences, 4 * cols});
  Tensor packed = a.packed_weight;
  if (!packed && steps > 1) {
    packed = workspace_.make(DType::u8, {static_cast<int64_t>(bytes)});
    pack_matrix({.b = a.weight, .transpose_b = true, .compute = a.compute, .packed = packed});
  }
  const MatmulArgs product = product_of(states, a.weight, true, a.compute, packed, sums);
  const SegmentRows segments(a.segments, a.gates, FaultKind::lstm_segment, device_.fault());
  with_device_elements(a.gates, [&]<class T>(T* gates) {
    const bool vectors = takes_vectors(4, cols, {gates, a.y.data, a.c.data, a.first_h.data, a.first_c.data,
                                                 a.last_h.data, a.last_c.data});
    with_width<4>(vectors, [&](auto width) {
      const int64_t elements = sequences * cols;
      launch(begin_kernel<T, width.value>, blocks(ceil_div(elements, int64_t{threads} * width.value)), threads, 0,
             stream(), a.first_h.as<float>(), a.first_c.as<float>(), static_cast<T*>(states.data),
             a.last_h.as<float>(), a.last_c.as<float>(), elements);
      for (int64_t t = 0; t < steps; ++t) {
        const bool multiplies = t > 0 || a.first_h;
        if (multiplies) matmul(product);
        const ForwardStep<T> step{gates, multiplies ? sums.as<float>() : nullptr, a.first_c.as<float>(),
                                  static_cast<T*>(a.y.data), static_cast<T*>(states.data), a.c.as<float>(),
                                  a.last_h.as<float>(), a.last_c.as<float>(), static_cast<int>(cols),
                                  static_cast<int>(t)};
        launch(forward_kernel<T, width.value>, grid_of(sequences, cols, width.value), threads, 0, stream(), step,
               segments);
      }
    });
  });
}

void CudaOps::lstm_backward(const LstmBackwardArgs& a) {
  const Operation operation("lstm_backward", {a.gates, a.weight});
  check_lstm_backward(a);
  const int64_t cols = a.weight.cols(), sequences = a.segments.count(), steps = a.segments.longest;
  if (!sequences) return;
  const ArenaScope scope(workspace_);
  // A product reads the rows of all sequences. Zeros keep it from what the memory held before.
  const Tensor factors = workspace_.make_zeros(a.gates.dtype, {sequences, 4 * cols});
  const Tensor dh = workspace_.make(DType::f32, {sequences, cols}), dc = workspace_.make(DType::f32, dh.shape);
  Tensor packed;
  if (steps > 1) {
    packed = workspace_.make(DType::u8, {static_cast<int64_t>(packed_bytes(4 * cols, cols, a.compute))});
    pack_matrix({.b = a.weight, .compute = a.compute, .packed = packed});
  }
  const MatmulArgs product = product_of(factors, a.weight, false, a.compute, packed, dh);
  const SegmentRows segments(a.segments, a.gates, FaultKind::lstm_segment, device_.fault());
  with_device_elements(a.gates, [&]<class T>(T* gates) {
    with_device_elements(a.dy, [&]<class Y>(Y* dy) {
      const bool vectors = takes_vectors(4, cols, {gates, a.y.data, a.c.data, dy, a.dgates.data, a.h_before.data,
                                                   a.first_h.data, a.first_c.data, a.dlast_h.data, a.dlast_c.data,
                                                   a.dfirst_h.data, a.dfirst_c.data});
      with_width<4>(vectors, [&](auto width) {
        BackwardStep<T, Y> step{gates, static_cast<const T*>(a.y.data), a.c.as<float>(), a.first_h.as<float>(),
                                a.first_c.as<float>(), dy, a.dlast_h.as<float>(), a.dlast_c.as<float>(),
                                dh.as<float>(), dc.as<float>(), static_cast<T*>(a.dgates.data),
                                static_cast<T*>(factors.data), static_cast<T*>(a.h_before.data),
                                static_cast<int>(cols), 0};
        for (int64_t t = steps; t-- > 0;) {
          step.t = static_cast<int>(t);
          launch(backward_kernel<T, Y, width.value>, grid_of(sequences, cols, width.value), threads, 0, stream(), step,
                 segments);
          if (t > 0 || a.dfirst_h) matmul(product);
        }
        if (!a.dfirst_h) return;
        const BackwardEnd end{dh.as<float>(), dc.as<float>(), a.dlast_h.as<float>(), a.dlast_c.as<float>(),
                              a.dfirst_h.as<float>(), a.dfirst_c.as<float>(), static_cast<int>(cols)};
        launch(end_kernel<width.value>, grid_of(sequences, cols, width.value), threads, 0, stream(), end, segments);
      });
    });
  });
}

}  // namespace engine::cuda
