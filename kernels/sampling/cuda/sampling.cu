// Sampling on a device, a block a row of logits, without sorting.
//
// Weights are kept as integers of 2^-44, so that sums are exact, the same in any order, and 2^-26 of the whole for a
// quarter of a million tokens. A token lighter than 2^-44 of the heaviest is never drawn, but draws have only 24 bits.
//
// Ranks are 64-bit numbers that order tokens by logit and, among equals, by token. To keep the first tokens whose count
// reaches top_k, or whose weights reach top_p of the sum, the block finds the lowest rank that is kept. It halves an
// interval of ranks, by the logits' values at first, until one token is left in it. Each halving is one pass over the
// row. About log2(V) + 4 of them are needed, 20 for 50 thousand tokens, and more only where logits are equal or nearly
// so. Sums over the warps' parts of the row, and then over the parts of one part, find the drawn token.
//
// A pass reads 8 bytes a token (logit and weight), from the second-level cache but for the first. The weights are
// scratch.
#include "kernels/sampling/sampling.h"

#include <algorithm>

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/launch.h"
#include "kernels/sampling/cuda/logit_order.h"
#include "kernels/sizes.h"

namespace engine::cuda {
namespace {

constexpr float unit = 0x1p44f;     // units of an integer weight of 1
constexpr float weightless = 32.0f;  // e^-32 is 0 in these units
constexpr int halvings_by_value = 20;

struct Samples {
  const float *logits, *draws;
  float* weights;  // scratch [rows][vocabulary], null at temperature 0
  int32_t* tokens;
  int vocabulary, top_k;
  float temperature, top_p;
  FaultReport fault;
};

__device__ __forceinline__ uint64_t integer_of(float weight) { return static_cast<uint64_t>(weight * unit); }
__device__ __forceinline__ uint64_t least_rank(float logit) { return uint64_t{order_of(logit)} << 32; }

// Holds a block's row.
struct Row {
  const float* logits;
  float* weights;
  int count;

  struct Amount {
    uint64_t tokens, weight;
  };
  // Sums over all tokens from a rank on.
  __device__ __forceinline__ Amount amount_from(uint64_t rank, bool by_weight) const {
    uint64_t tokens = 0, weight = 0;
    for (int v = static_cast<int>(threadIdx.x); v < count; v += static_cast<int>(blockDim.x)) {
      if (rank_of(logits[v], v) < rank) continue;
      ++tokens;
      if (by_weight) weight += integer_of(weights[v]);
    }
    return {block_sum(tokens), by_weight ? block_sum(weight) : 0};
  }

  // Returns the lowest rank of the fewest first tokens, among those from rank `low` on, whose number (or weight) is at
  // least `need`. `high` is above every token's rank. Returns `low` where all tokens with a weight do not reach it.
  __device__ __forceinline__ uint64_t lowest_kept(uint64_t low, uint64_t high, uint64_t need, bool by_weight) const {
    uint64_t tokens_low, tokens_high = 0;
    const auto reaches = [&](const Amount& amount) { return (by_weight ? amount.weight : amount.tokens) >= need; };
    const Amount all = amount_from(low, by_weight);
    if (!reaches(all)) return low;
    tokens_low = all.tokens;
    for (int turn = 0; tokens_low - tokens_high > 1; ++turn) {
      const float below = logit_of(static_cast<uint32_t>(low >> 32));
      const float above = logit_of(static_cast<uint32_t>(high >> 32));
      uint64_t middle = least_rank(0.5f * below + 0.5f * above);
      if (turn >= halvings_by_value || middle <= low || middle >= high) middle = low + (high - low) / 2;
      const Amount amount = amount_from(middle, by_weight);
      if (reaches(amount)) {
        low = middle;
        tokens_low = amount.tokens;
      } else {
        high = middle;
        tokens_high = amount.tokens;
      }
    }
    return low;
  }

  __device__ __forceinline__ uint64_t kept_weight(int v, uint64_t lowest) const {
    return rank_of(logits[v], v) >= lowest ? integer_of(weights[v]) : 0;
  }
};

struct DrawnRange {
  uint64_t of_warp[32];
  int token;
};
// Returns the first token at which the running sum of kept weights exceeds `target`. The sum of all exceeds it.
__device__ __forceinline__ int draw(const Row& row, uint64_t lowest, uint64_t target) {
  DrawnRange& shared = block_shared<DrawnRange>();
  const int lane = lane_index(), warp = warp_index();
  const int warps = warp_count();
  int begin = 0, end = row.count;
  for (int level = 0; level < 2 && warps > 1; ++level) {
    const int part = (end - begin + warps - 1) / warps, first = begin + warp * part;
    uint64_t sum = 0;
    for (int v = first + lane; v < first + part && v < end; v += warp_size) sum += row.kept_weight(v, lowest);
    for (int distance = warp_size / 2; distance > 0; distance /= 2) sum += shuffle_xor(sum, distance);
    sync_block();
    if (lane == 0) shared.of_warp[warp] = sum;
    sync_block();
    int chosen = 0;
    while (chosen < warps - 1 && shared.of_warp[chosen] <= target) target -= shared.of_warp[chosen++];
    begin += chosen * part;
    end = begin + part < end ? begin + part : end;
  }
  if (warp == 0) {
    for (int first = begin; first < end; first += warp_size) {
      uint64_t until = first + lane < end ? row.kept_weight(first + lane, lowest) : 0;
      for (int distance = 1; distance < warp_size; distance *= 2) {
        const uint64_t before = shuffle_up(until, distance);
        if (lane >= distance) until += before;
      }
      const unsigned beyond = ballot(until > target);
      if (beyond) {
        if (lane == 0) shared.token = first + count_bits((beyond & -beyond) - 1);
        break;
      }
      target -= shuffle(until, warp_size - 1);
    }
  }
  sync_block();
  return shared.token;
}

__global__ void __launch_bounds__(1024, 1) sample_kernel(const Samples a) {
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  const int64_t begin = int64_t{blockIdx.x} * a.vocabulary;
  const Row row{a.logits + begin, a.weights ? a.weights + begin : nullptr, a.vocabulary};
  uint64_t first = 0;
  bool holds_nan = false;
  for (int v = thread; v < row.count; v += threads) {
    const float logit = row.logits[v];
    holds_nan |= logit != logit;
    const uint64_t rank = rank_of(logit, v);
    if (rank > first) first = rank;
  }
  holds_nan = sync_block_or(holds_nan);
  first = block_max(first);
  const float high = logit_of(static_cast<uint32_t>(first >> 32));
  if (holds_nan || !(fabsf(high) < INFINITY)) {
    if (thread > 0) return;
    a.tokens[blockIdx.x] = 0;
    report_fault(a.fault, FaultKind::logits, static_cast<int>(blockIdx.x), 0, 0);
    return;
  }
  if (a.temperature == 0 || a.top_k == 1) {
    if (thread == 0) a.tokens[blockIdx.x] = token_of(first);
    return;
  }
  // Divides, since the reciprocal of a tiny temperature is infinite.
  for (int v = thread; v < row.count; v += threads)
    row.weights[v] = exp2_fast((row.logits[v] - high) / a.temperature * 1.44269504f);
  sync_block();
  uint64_t lowest = least_rank(high - weightless * a.temperature);
  if (a.top_k > 0 && a.top_k < row.count)
    lowest = row.lowest_kept(lowest, first + 1, static_cast<uint64_t>(a.top_k), false);
  uint64_t total = row.amount_from(lowest, true).weight;
  if (a.top_p < 1) {
    const double need = ceil(static_cast<double>(a.top_p) * static_cast<double>(total));
    lowest = row.lowest_kept(lowest, first + 1, need < 1 ? 1 : static_cast<uint64_t>(need), true);
    total = row.amount_from(lowest, true).weight;
  }
  const uint64_t target = static_cast<uint64_t>(static_cast<double>(a.draws[blockIdx.x]) * static_cast<double>(total));
  const int token = draw(row, lowest, target < total ? target : total - 1);
  if (thread == 0) a.tokens[blockIdx.x] = token;
}

}  // namespace

void CudaOps::sample(const SampleArgs& args) {
  const Operation operation("sample", {args.logits, args.tokens});
  check_sample(args);
  const int64_t rows = args.tokens.count(), vocabulary = args.logits.cols();
  if (!rows) return;
  if (vocabulary >= 1 << 20)  // every weight may be the largest, 2^44
    fail("sample: logits is ", args.logits.shape.text(), ": fewer than 2^20 tokens fit the sums of this device");
  const ArenaScope scope(workspace_);
  const Tensor weights = args.temperature > 0 ? workspace_.make(DType::f32, {rows, vocabulary}) : Tensor{};
  const Samples samples{args.logits.as<float>(), args.draws.as<float>(), weights.as<float>(), args.tokens.as<int32_t>(),
                        static_cast<int>(vocabulary), args.top_k, args.temperature, args.top_p, device_.fault()};
  launch(sample_kernel, blocks(rows), threads_of_row(vocabulary, 16), 0, stream(), samples);
}

}  // namespace engine::cuda
