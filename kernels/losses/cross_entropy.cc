#include "kernels/losses/cross_entropy.h"

#include <algorithm>

#include "kernels/checks.h"
#include "kernels/sizes.h"

namespace engine {

void check_cross_entropy(const CrossEntropyArgs& args) {
  const char* name = "cross_entropy";
  const int64_t rows = args.labels.count(), vocabulary = args.weight.rows(), cols = args.weight.cols();
  if (vocabulary < 1) fail(name, ": weight is ", args.weight.shape.text(), ": there are no tokens");
  check_activation(name, "weight", args.weight, vocabulary, cols);
  check_activation(name, "x", args.x, rows, cols);
  check_vector(name, "labels", args.labels, DType::i32, rows);
  check_vector(name, "totals", args.totals, DType::f32, 3);
  if (args.bias) check_vector(name, "bias", args.bias, DType::f32, vocabulary);
  if (args.row_weights) check_vector(name, "row_weights", args.row_weights, DType::f32, rows);
  if (args.penalties) {
    check_vector(name, "penalties", args.penalties, DType::f32, rows);
    require(0 <= args.penalised_token && args.penalised_token < vocabulary, name, ": penalised_token is ",
            args.penalised_token, ", not in 0 ... ", vocabulary - 1);
  }
  require(args.ranked_token < vocabulary, name, ": ranked_token is ", args.ranked_token, ", not below ", vocabulary);
  if (args.row_losses) check_vector(name, "row_losses", args.row_losses, DType::f32, rows);
  if (args.ranks) check_vector(name, "ranks", args.ranks, DType::i32, rows);
  if (args.likeliest) check_vector(name, "likeliest", args.likeliest, DType::i32, rows);
  if (args.dx) check_activation(name, "dx", args.dx, rows, cols);
  if (args.dx && args.dweight) check_matrix(name, "dweight", args.dweight, DType::f32, vocabulary, cols);
  if (args.dx && args.dbias) check_vector(name, "dbias", args.dbias, DType::f32, vocabulary);
  require(!args.dx || !args.dbias || args.dweight, name, ": dbias is given without dweight");
  require(args.label_smoothing >= 0 && args.label_smoothing <= 1, name, ": label_smoothing is ", args.label_smoothing,
          ", not in 0 ... 1");
}

int64_t rows_within(int64_t budget, int64_t rows, int64_t bytes_a_row, int64_t most_rows) {
  const int64_t most = std::clamp<int64_t>(budget / bytes_a_row / 32 * 32, 32, most_rows);
  const int64_t pieces = ceil_div(rows, most);
  return pieces <= 1 ? rows : rounded_up(ceil_div(rows, pieces), 32);
}

}  // namespace engine
