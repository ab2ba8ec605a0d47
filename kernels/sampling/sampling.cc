#include "kernels/sampling/sampling.h"

#include "kernels/checks.h"

namespace engine {

void check_sample(const SampleArgs& args) {
  const char* name = "sample";
  const int64_t rows = args.tokens.count(), vocabulary = args.logits.cols();
  check_matrix(name, "logits", args.logits, DType::f32, rows, vocabulary);
  check_vector(name, "tokens", args.tokens, DType::i32, rows);
  require(args.temperature >= 0, name, ": temperature is ", args.temperature, ", must be at least 0");
  if (args.temperature > 0) check_vector(name, "draws", args.draws, DType::f32, rows);
  if (rows && vocabulary < 1) fail(name, ": logits is ", args.logits.shape.text(), ": there are no tokens");
}

}  // namespace engine
