#include "kernels/sampling/rank.h"

#include "kernels/checks.h"

namespace engine {

void check_rank(const RankArgs& args) {
  const char* name = "rank";
  const int64_t rows = args.tokens.count();
  check_vector(name, "tokens", args.tokens, DType::i32, rows);
  check_activation(name, "logits", args.logits, rows, args.logits.cols());
  check_vector(name, "ranks", args.ranks, DType::i32, rows);
  if (rows && args.logits.cols() < 1) fail(name, ": logits is ", args.logits.shape.text(), ": there are no tokens");
}

}  // namespace engine
