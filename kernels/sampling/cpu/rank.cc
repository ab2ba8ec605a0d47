#include "kernels/sampling/rank.h"

#include <algorithm>
#include <cmath>

#include "core/parallel.h"
#include "kernels/checks.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/vector_loop.h"

namespace engine::ENGINE_ISA {
namespace {

template <class T>
int32_t rank_in(const T* logits, int64_t count, int64_t token) {
  const float own = static_cast<float>(logits[token]);
  vint above{};  // a true lane counts as -1
  each_vector(count, [&](int64_t v, auto part) {
    const vfloat logit = only(load(logits + v, part), part, splat(NAN));
    above -= ~(logit <= own) & (logit == logit);
  });
  int32_t rank = 1;
  for (int lane = 0; lane < lanes; ++lane) rank += above[lane];
  return rank;
}

}  // namespace

void CpuOps::rank(const RankArgs& args) {
  check_rank(args);
  const int64_t rows = args.tokens.count(), vocabulary = args.logits.cols();
  check_indices("rank", "tokens", args.tokens, vocabulary);
  if (rows == 0) return;
  const int32_t* tokens = args.tokens.as<int32_t>();
  int32_t* ranks = args.ranks.as<int32_t>();
  with_elements(args.logits, [&](const auto* logits) {
    parallel_chunks(rows, std::max<int64_t>(1, 16384 / vocabulary), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) ranks[r] = rank_in(logits + r * vocabulary, vocabulary, tokens[r]);
    });
  });
}

}  // namespace engine::ENGINE_ISA
