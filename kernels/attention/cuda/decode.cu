// Forward attention for a few queries in each sequence, as in decoding. A block takes one query of one head over one
// range of its keys, so that enough blocks read keys and values, each once. A second kernel merges the ranges' results
// in their order. `lanes` neighbouring threads share a key, 8 columns each.
#include "kernels/attention/cuda/arguments.h"

namespace engine::cuda {

namespace {

constexpr int decode_threads = 128, warps = decode_threads / warp_size, range_keys = 128, most_columns = 128;

// The result of a query over some keys: the highest score in units of log 2, the sum of 2^(score - highest), and the
// values with these weights. Memory holds highest, sum, then the values.
struct Partial {
  float highest, sum, value;
};
constexpr int numbers = 2;

// Merges one column of `count` partial results in their order.
__device__ __forceinline__ Partial merged(const float* parts, int stride, int count, int column) {
  Partial total{-INFINITY, 0, 0};
  for (int i = 0; i < count; ++i) total.highest = fmaxf(total.highest, parts[i * stride]);
  const float base = total.highest == -INFINITY ? 0.0f : total.highest;
  for (int i = 0; i < count; ++i) {
    const float weight = exp2_fast(parts[i * stride] - base);
    total.sum += weight * parts[i * stride + 1];
    total.value += weight * parts[i * stride + numbers + column];
  }
  return total;
}

__device__ __forceinline__ void write_column(const AttentionForward& a, int64_t row, int head, int column,
                                             const Partial& total) {
  const bool saw_keys = total.sum > 0;
  store_element(a.y, row, int64_t{head} * a.width + column, saw_keys ? total.value / total.sum : 0.0f);
  if (a.lse && column == 0)
    a.lse[row * a.heads + head] = saw_keys ? (total.highest + log2f(total.sum)) * ln_2 : -INFINITY;
}

// Holds 8 columns of a row, `count` of which the head has. They stay in their dtype, since bf16 takes half the
// registers.
template <class T>
struct Eight {
  Vector16<T> part[8 / Vector16<T>::size];

  __device__ __forceinline__ void load(const DeviceMatrix& matrix, int64_t row, int64_t column, int count,
                                       bool vectors) {
    constexpr int size = Vector16<T>::size;
    const T* const from = element_at<const T>(matrix, row, column);
    ENGINE_UNROLL
    for (int p = 0; p < 8 / size; ++p) {
      if (vectors && count > 0) {
        part[p] = load_vector(from + p * size);
        continue;
      }
      ENGINE_UNROLL
      for (int i = 0; i < size; ++i)
        part[p].at[i] = p * size + i < count ? from[p * size + i] : from_float<T>(0.0f);
    }
  }
  __device__ __forceinline__ float at(int i) const {
    constexpr int size = Vector16<T>::size;
    return to_float(part[i / size].at[i % size]);
  }
};

// Holds the running result of a group of lanes, 8 columns in each lane.
struct RunningSum {
  float highest = -INFINITY, sum = 0, values[8] = {};

  // Brings the sums to a new maximum and returns the number to subtract from scores.
  __device__ __forceinline__ float raise(float to) {
    const float base = to == -INFINITY ? 0.0f : to, correction = exp2_fast(highest - base);
    highest = to;
    sum *= correction;
    ENGINE_UNROLL
    for (float& value : values) value *= correction;
    return base;
  }
  // Adds the sums of the lane that is `distance` away.
  __device__ __forceinline__ void merge_with(int distance) {
    RunningSum other;
    other.highest = shuffle_xor(highest, distance);
    other.sum = shuffle_xor(sum, distance);
    ENGINE_UNROLL
    for (int i = 0; i < 8; ++i) other.values[i] = shuffle_xor(values[i], distance);
    const float top = fmaxf(highest, other.highest);
    raise(top);
    other.raise(top);
    sum += other.sum;
    ENGINE_UNROLL
    for (int i = 0; i < 8; ++i) values[i] += other.values[i];
  }
};

struct WarpPartials {
  float of_warp[warps][numbers + most_columns];
};

template <class T, int lanes>
__global__ void __launch_bounds__(decode_threads) decode_kernel(const AttentionForward a, int queries, int ranges,
                                                         bool vectors, float* parts) {
  constexpr int batch = sizeof(T) == 2 ? 4 : 2, groups = decode_threads / lanes;
  const BlockPlace place(a, queries * ranges);
  const int query = place.tile / ranges, range = place.tile % ranges;
  BlockSpan span;
  if (!read_span(a, place.sequence, span)) return;
  if (query >= span.queries) return;
  const int begin = range * range_keys, end = smaller(begin + range_keys, span.visible(query));
  if (begin >= end && range > 0) return;
  const int64_t row = span.query_begin + query;
  const int thread = static_cast<int>(threadIdx.x), group = thread / lanes, first = thread % lanes * 8;
  const int count = a.width - first;
  const int64_t column = int64_t{place.head} * a.width + first;

  float q[8];
  ENGINE_UNROLL
  for (int i = 0; i < 8; ++i) q[i] = i < count ? load_element(a.q, row, column + i) * (a.scale * log2_e) : 0.0f;
  RunningSum running;
  for (int from = begin; from < end; from += groups * batch) {
    Eight<T> k[batch], v[batch];
    ENGINE_UNROLL
    for (int b = 0; b < batch; ++b) {
      const int key = from + b * groups + group;
      const int64_t key_row = span.key_begin + key;
      const int there = key < end ? count : 0;
      k[b].load(a.k, key_row, column, there, vectors);
      v[b].load(a.v, key_row, column, there, vectors);
    }
    float scores[batch], highest = running.highest;
    ENGINE_UNROLL
    for (int b = 0; b < batch; ++b) {
      float score = 0;
      ENGINE_UNROLL
      for (int i = 0; i < 8; ++i) score += q[i] * k[b].at(i);
      for (int distance = lanes / 2; distance > 0; distance /= 2) score += shuffle_xor(score, distance);
      scores[b] = from + b * groups + group < end ? score : -INFINITY;
      highest = fmaxf(highest, scores[b]);
    }
    const float base = running.raise(highest);
    ENGINE_UNROLL
    for (int b = 0; b < batch; ++b) {
      float weight = exp2_fast(scores[b] - base);
      running.sum += weight;
      if (a.drops) weight *= a.dropout.factor(row, a.heads, place.head, from + b * groups + group);
      ENGINE_UNROLL
      for (int i = 0; i < 8; ++i) running.values[i] += weight * v[b].at(i);
    }
  }

  for (int distance = lanes; distance < warp_size; distance *= 2) running.merge_with(distance);
  WarpPartials& shared = block_shared<WarpPartials>();
  if (thread % warp_size < lanes) {
    float* const mine = shared.of_warp[thread / warp_size];
    mine[0] = running.highest;  // equal in all lanes of the group
    mine[1] = running.sum;
    ENGINE_UNROLL
    for (int i = 0; i < 8; ++i) mine[numbers + first + i] = running.values[i];
  }
  sync_block();
  if (thread >= a.width) return;
  const Partial total = merged(shared.of_warp[0], numbers + most_columns, warps, thread);
  if (ranges == 1) return write_column(a, row, place.head, thread, total);
  float* const part = parts + int64_t{blockIdx.x} * (numbers + a.width);
  part[numbers + thread] = total.value;
  if (thread == 0) {
    part[0] = total.highest;
    part[1] = total.sum;
  }
}

__global__ void __launch_bounds__(decode_threads) merge_kernel(const AttentionForward a, int queries, int ranges,
                                                        const float* parts) {
  const BlockPlace place(a, queries);
  BlockSpan span;
  if (!read_span(a, place.sequence, span)) return;
  const int query = place.tile, column = static_cast<int>(threadIdx.x);
  if (query >= span.queries || column >= a.width) return;
  const int count = larger(1, (span.visible(query) + range_keys - 1) / range_keys), stride = numbers + a.width;
  write_column(a, span.query_begin + query, place.head, column,
               merged(parts + int64_t{blockIdx.x} * ranges * stride, stride, count, column));
}

// Calls body(kernel) with the kernel that has as many lanes as a head of this width needs.
template <class T, class Body>
void with_lanes(int width, const Body& body) {
  if (width <= 32) body(decode_kernel<T, 4>);
  else if (width <= 64) body(decode_kernel<T, 8>);
  else body(decode_kernel<T, 16>);
}

}  // namespace

void attention_decode(const AttentionForward& a, Arena& workspace, cudaStream_t stream) {
  const ArenaScope scope(workspace);
  const int queries = a.longest_query;
  const int ranges = static_cast<int>(ceil_div(std::max(a.longest_key, 1), range_keys));
  const bool vectors = a.k.takes_vectors(8) && a.v.takes_vectors(8) && a.width % 8 == 0;
  const int64_t outputs = int64_t{a.sequences} * a.heads * queries;
  float* const parts =
      ranges > 1 ? workspace.make(DType::f32, {outputs * ranges, numbers + a.width}).as<float>() : nullptr;
  const auto start = [&](auto kernel) {
    launch(kernel, a.grid(int64_t{queries} * ranges), decode_threads, 0, stream, a, queries, ranges, vectors, parts);
  };
  if (a.k.is_bf16) with_lanes<bfloat16>(a.width, start);
  else with_lanes<float>(a.width, start);
  if (ranges > 1) launch(merge_kernel, a.grid(queries), decode_threads, 0, stream, a, queries, ranges, parts);
}

}  // namespace engine::cuda
