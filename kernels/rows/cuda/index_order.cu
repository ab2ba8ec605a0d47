#include "kernels/rows/cuda/index_order.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "kernels/cuda/launch.h"
#include "kernels/sizes.h"

namespace engine::cuda {
namespace {

constexpr int digit_bits = 9, digits = 1 << digit_bits;
constexpr int count_threads = 256, scan_threads = 1024;
constexpr int64_t least_tile = 1024, most_tiles = 128;

// One round over one digit. Block (t, l) takes tile t of list l.
struct Round {
  IndexLists lists;
  const int *from_index, *from_place;  // null in the first round, which reads the lists
  int *to_index, *to_place;
  int* starts;  // [list][digit][tile] counts, then first places
  int tile, tiles, shift;
  FaultReport fault;

  __device__ __forceinline__ int begin() const { return static_cast<int>(blockIdx.x) * tile; }
  __device__ __forceinline__ int end() const { return begin() + tile < lists.count ? begin() + tile : lists.count; }
  __device__ __forceinline__ int64_t list_begin() const { return int64_t{blockIdx.y} * lists.count; }
  __device__ __forceinline__ int index_at(int i) const {
    if (from_index) return from_index[list_begin() + i];
    const IndexList list = lists.of(blockIdx.y);
    const int index = list.index[i];
    return index < 0 || index >= list.limit ? list.limit : index;
  }
  __device__ __forceinline__ int digit_of(int index) const { return index >> shift & (digits - 1); }
  __device__ __forceinline__ int& start(int digit) const {
    return starts[(int64_t{blockIdx.y} * digits + digit) * tiles + blockIdx.x];
  }
};

struct DigitCounts {
  int of[digits];
};
__global__ void __launch_bounds__(count_threads) count_digits(const Round a) {
  DigitCounts& counts = block_shared<DigitCounts>();
  const int thread = static_cast<int>(threadIdx.x);
  for (int digit = thread; digit < digits; digit += count_threads) counts.of[digit] = 0;
  sync_block();
  for (int i = a.begin() + thread; i < a.end(); i += count_threads) {
    const int index = a.index_at(i);
    atomic_add(&counts.of[a.digit_of(index)], 1);
    const IndexList list = a.lists.of(blockIdx.y);
    if (!a.from_index && index == list.limit) report_fault(a.fault, list.kind, i, list.index[i], list.limit);
  }
  sync_block();
  for (int digit = thread; digit < digits; digit += count_threads) a.start(digit) = counts.of[digit];
}

struct ScanSums {
  int of_warp[scan_threads / warp_size];
};
// Replaces each of starts by the sum of those before it. A block takes a list, and a warp takes a run of elements, 32
// neighbours at a time.
__global__ void __launch_bounds__(scan_threads) scan_counts(int* all, int size) {
  ScanSums& shared = block_shared<ScanSums>();
  int* const starts = all + int64_t{blockIdx.x} * size;
  const int lane = lane_index(), warp = warp_index(), groups = (size + scan_threads - 1) / scan_threads;
  const int run = groups * warp_size, begin = warp * run, end = begin + run < size ? begin + run : size;
  int own = 0;
  for (int i = begin + lane; i < end; i += warp_size) own += starts[i];
  own = warp_sum(own);
  if (lane == 0) shared.of_warp[warp] = own;
  sync_block();
  int total = 0;
  for (int other = 0; other < warp; ++other) total += shared.of_warp[other];
  for (int first = begin; first < end; first += warp_size) {
    const bool there = first + lane < end;
    const int count = there ? starts[first + lane] : 0;
    int until = count;  // sum up to this lane
    for (int distance = 1; distance < warp_size; distance *= 2) {
      const int before = shuffle_up(until, distance);
      if (lane >= distance) until += before;
    }
    if (there) starts[first + lane] = total + until - count;
    total += shuffle(until, warp_size - 1);
  }
}

// Places the indices of a tile by one warp, so that places of one digit keep their order.
__global__ void __launch_bounds__(warp_size) place_indices(const Round a) {
  constexpr int ahead = 8;  // groups of 32 indices that are read ahead
  DigitCounts& next = block_shared<DigitCounts>();
  const int lane = static_cast<int>(threadIdx.x);
  const unsigned lanes_before = (1u << lane) - 1;
  for (int digit = lane; digit < digits; digit += warp_size) next.of[digit] = a.start(digit);
  sync_warp();
  for (int first = a.begin(); first < a.end(); first += ahead * warp_size) {
    int index[ahead], place[ahead];
    ENGINE_UNROLL
    for (int g = 0; g < ahead; ++g) {
      const int i = first + g * warp_size + lane;
      const bool there = i < a.end();
      index[g] = there ? a.index_at(i) : -1;
      place[g] = !there || !a.from_place ? i : a.from_place[a.list_begin() + i];
    }
    ENGINE_UNROLL
    for (int g = 0; g < ahead; ++g) {
      const bool there = index[g] >= 0;
      const int digit = there ? a.digit_of(index[g]) : digits;
      const unsigned same = match_any(static_cast<unsigned>(digit));
      const int to = there ? next.of[digit] + count_bits(same & lanes_before) : 0;
      sync_warp();
      if (there && (same & lanes_before) == 0) next.of[digit] += count_bits(same);
      sync_warp();
      if (!there) continue;
      a.to_index[a.list_begin() + to] = index[g];
      a.to_place[a.list_begin() + to] = place[g];
    }
  }
}

}  // namespace

IndexOrder order_indices(const IndexLists& lists, Arena& workspace, FaultReport fault, cudaStream_t stream) {
  const int64_t all = int64_t{lists.lists} * lists.count;
  const auto integers = [&](int64_t count) { return workspace.make(DType::i32, {count}).as<int32_t>(); };
  int *index[2] = {integers(all), integers(all)}, *place[2] = {integers(all), integers(all)};
  int64_t limit = 0;
  for (int l = 0; l < lists.lists; ++l) limit = std::max<int64_t>(limit, lists.list[l].limit);
  const int64_t tile = rounded_up(std::max(least_tile, ceil_div(lists.count, most_tiles)), warp_size);
  const int64_t tiles = ceil_div(lists.count, tile);
  Round round{lists, nullptr, nullptr, index[0], place[0], integers(lists.lists * digits * tiles),
              static_cast<int>(tile), static_cast<int>(tiles), 0, fault};
  const int bits = std::bit_width(static_cast<uint64_t>(limit));
  for (int turn = 0; round.shift < bits || turn == 0; ++turn, round.shift += digit_bits) {
    round.to_index = index[turn % 2];
    round.to_place = place[turn % 2];
    launch(count_digits, blocks(tiles, lists.lists), count_threads, 0, stream, round);
    launch(scan_counts, blocks(lists.lists), scan_threads, 0, stream, round.starts, digits * tiles);
    launch(place_indices, blocks(tiles, lists.lists), warp_size, 0, stream, round);
    round.from_index = round.to_index;
    round.from_place = round.to_place;
  }
  return {round.from_index, round.from_place};
}

}  // namespace engine::cuda
