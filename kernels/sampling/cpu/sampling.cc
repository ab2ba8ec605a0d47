#include "kernels/sampling/sampling.h"

#include <algorithm>
#include <cmath>

#include "core/parallel.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/vector_loop.h"
#include "kernels/sizes.h"

namespace engine::ENGINE_ISA {
namespace {

constexpr int64_t group = 64;  // tokens

// A token with its order. Larger logits have larger keys, and among equal ones the lower token has the larger.
using Key = uint64_t;
Key key_of(float logit, int64_t token) {
  const uint32_t bits = std::bit_cast<uint32_t>(logit + 0.0f);  // -0 is 0
  const uint32_t ordered = bits >> 31 ? ~bits : bits | 0x80000000u;
  return uint64_t{ordered} << 32 | ~static_cast<uint32_t>(token);
}
int32_t token_of(Key key) { return static_cast<int32_t>(~static_cast<uint32_t>(key)); }

struct Row {
  const float* logits;
  int64_t count;
  float* maxima;      // scratch, of groups of tokens
  float* weights;     // scratch, each token's weight in the draw
  Key* candidates;    // scratch

  int64_t groups() const { return ceil_div(count, group); }
  int64_t size_of(int64_t g) const { return std::min(group, count - g * group); }
};

// Fills the maxima. Returns the largest of all, or a NaN where there is one.
float find_maxima(const Row& row) {
  float high = -INFINITY;
  vfloat nans{};
  for (int64_t g = 0; g < row.groups(); ++g) {
    vfloat top = splat(-INFINITY);
    each_vector(row.size_of(g), [&](int64_t v, auto part) {
      const vfloat logit = only(load(row.logits + g * group + v, part), part, splat(-INFINITY));
      top = maximum(top, logit);
      nans += logit != logit ? logit : vfloat{};
    });
    row.maxima[g] = largest(top);
    high = std::max(high, row.maxima[g]);
  }
  return high + sum(nans);
}

// Makes the candidates all tokens of at least `least` and returns how many there are. It skips most groups.
int64_t collect(const Row& row, float least) {
  int64_t candidates = 0;
  for (int64_t g = 0; g < row.groups(); ++g) {
    if (row.maxima[g] < least) continue;
    for (int64_t v = g * group; v < g * group + row.size_of(g); ++v) {
      row.candidates[candidates] = key_of(row.logits[v], v);
      candidates += row.logits[v] >= least;
    }
  }
  return candidates;
}

// Makes the candidates the top_k largest tokens.
void collect_top_k(const Row& row, int64_t top_k) {
  float least = -INFINITY;
  if (row.groups() >= top_k) {
    float* sorted = row.weights;  // not needed yet
    std::copy_n(row.maxima, row.groups(), sorted);
    std::nth_element(sorted, sorted + top_k - 1, sorted + row.groups(), std::greater<>());
    least = sorted[top_k - 1];
  }
  const int64_t candidates = collect(row, least);
  std::nth_element(row.candidates, row.candidates + top_k - 1, row.candidates + candidates, std::greater<>());
}

// Returns the lowest key of the fewest largest candidates whose weights reach `mass`. Looks at twice as many each time.
Key lowest_of_top_p(const Row& row, int64_t candidates, double mass) {
  Key* const end = row.candidates + candidates;
  Key* begin = row.candidates;
  const auto weight = [&](Key key) { return static_cast<double>(row.weights[token_of(key)]); };
  double sum = 0;
  for (int64_t size = 64;; size *= 2) {
    Key* const next = std::min(begin + size, end);
    if (next < end) std::nth_element(begin, next, end, std::greater<>());
    double more = 0;
    for (const Key* key = begin; key < next; ++key) more += weight(*key);
    if (next < end && sum + more < mass) {
      sum += more;
      begin = next;
      continue;
    }
    std::sort(begin, next, std::greater<>());
    for (Key* key = begin; key + 1 < next; ++key) {
      sum += weight(*key);
      if (sum >= mass) return *key;
    }
    return *(next - 1);
  }
}

// Sets the weights of tokens below the lowest kept one to 0.
void keep_from(const Row& row, Key lowest) {
  const int32_t last = token_of(lowest);
  const float least = row.logits[last];
  each_vector(row.count, [&](int64_t v, auto part) {
    const vfloat logit = load(row.logits + v, part);
    const vint token = lane_numbers() + static_cast<int32_t>(v);
    const vint kept = (logit > least) | ((logit == least) & (token <= last));
    store(row.weights + v, as_float(as_int(load(row.weights + v, part)) & kept), part);
  });
}

double sum_of(const float* weights, int64_t count) {
  double total = 0;
  for (int64_t v = 0; v < count; v += group)
    total += static_cast<double>(
        sum_over(std::min(group, count - v), [&](int64_t i, auto part) { return load(weights + v + i, part); }));
  return total;
}

int32_t draw_token(const Row& row, double draw) {
  const double target = draw * sum_of(row.weights, row.count);
  double sum = 0;
  int64_t begin = 0;  // skips whole groups that do not reach the target
  for (; begin + group < row.count; begin += group) {
    const double more = sum_of(row.weights + begin, group);
    if (sum + more > target) break;
    sum += more;
  }
  int64_t last = 0;
  for (int64_t v = begin; v < row.count; ++v) {
    if (!(row.weights[v] > 0)) continue;
    last = v;
    sum += static_cast<double>(row.weights[v]);
    if (sum > target) return static_cast<int32_t>(v);
  }
  // Rounding may leave the sum a hair below the target. The last token that can be drawn is then drawn.
  if (!(row.weights[last] > 0))
    for (int64_t v = 0; v < begin; ++v)
      if (row.weights[v] > 0) last = v;
  return static_cast<int32_t>(last);
}

// Draws a row's token. Returns -1 where the row cannot be drawn from.
int32_t sample_row(const SampleArgs& args, const Row& row, float draw) {
  const float high = find_maxima(row);
  if (!std::isfinite(high)) return -1;
  if (args.temperature == 0) {
    const float* in = row.logits + (std::find(row.maxima, row.maxima + row.groups(), high) - row.maxima) * group;
    return static_cast<int32_t>(std::find(in, row.logits + row.count, high) - row.logits);
  }

  const bool by_count = args.top_k > 0 && args.top_k < row.count, by_mass = args.top_p < 1;
  int64_t candidates = args.top_k;
  if (by_count) collect_top_k(row, candidates);
  // This divides, since the reciprocal of a tiny temperature is infinite.
  each_vector(row.count, [&](int64_t v, auto part) {
    store(row.weights + v, exp((load(row.logits + v, part) - high) / args.temperature), part);
  });
  if (by_count) keep_from(row, *std::min_element(row.candidates, row.candidates + candidates));
  if (by_mass) {
    const double total = sum_of(row.weights, row.count);
    if (!by_count) {
      const double least = (1 - static_cast<double>(args.top_p)) * total / static_cast<double>(row.count);
      // The bound of w is one of the logit, a little lower for the roundings.
      candidates =
          collect(row, high + args.temperature * (static_cast<float>(std::log(std::max(least, 1e-37))) - 1.0f));
    }
    keep_from(row, lowest_of_top_p(row, candidates, static_cast<double>(args.top_p) * total));
  }
  return draw_token(row, static_cast<double>(draw));
}

}  // namespace

void CpuOps::sample(const SampleArgs& args) {
  const int64_t rows = args.tokens.count(), vocabulary = args.logits.cols();
  check_sample(args);
  const bool draws = args.temperature > 0;
  ArenaScope scope(workspace_);
  const int64_t threads = thread_count(), groups = (vocabulary + group - 1) / group;
  float* maxima = workspace_.make(DType::f32, {threads, groups}).as<float>();
  float* weights = workspace_.make(DType::f32, {threads, vocabulary}).as<float>();
  Key* candidates = static_cast<Key*>(
      workspace_.make(DType::u8, {threads, vocabulary * static_cast<int64_t>(sizeof(Key))}).data);
  int32_t* tokens = args.tokens.as<int32_t>();
  const int64_t grain = rows ? std::max<int64_t>(1, 16384 / vocabulary) : 1;
  parallel_chunks(rows, grain, [&](int64_t begin, int64_t end) {
    const int64_t thread = thread_index();
    for (int64_t s = begin; s < end; ++s) {
      const Row row{args.logits.as<float>() + s * vocabulary, vocabulary, maxima + thread * groups,
                    weights + thread * vocabulary, candidates + thread * vocabulary};
      tokens[s] = sample_row(args, row, draws ? args.draws.as<float>()[s] : 0.0f);
    }
  });
  for (int64_t s = 0; s < rows; ++s)
    require(tokens[s] >= 0, "sample: row ", s, " of the logits holds a NaN, or its largest is not finite");
}

}  // namespace engine::ENGINE_ISA
