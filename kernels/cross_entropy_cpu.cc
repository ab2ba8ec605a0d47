#include "kernels/cross_entropy.h"

#include <algorithm>
#include <cmath>

#include "core/parallel.h"
#include "kernels/checks.h"
#include "kernels/cpu_ops.h"
#include "kernels/vector_loop.h"

namespace engine::ENGINE_ISA {
namespace {

// Rows whose logits are held at once: dweight is read and written once for each chunk, so as many as 64 MiB hold, and
// all chunks about equally long.
int64_t rows_a_chunk(int64_t rows, int64_t vocabulary) {
  const int64_t most = std::max<int64_t>(32, (int64_t{64} << 20) / (vocabulary * 4) / 32 * 32);
  const int64_t chunks = (rows + most - 1) / most;
  return chunks <= 1 ? rows : ((rows + chunks - 1) / chunks + 31) / 32 * 32;
}

// What the gradient of one row's logits is made of: dl_v = scale e^(l_v - largest) - everywhere, less `at_label` there.
struct RowGradient {
  float scale, everywhere, at_label;
};

struct RowResult {
  float loss;
  bool correct;
  RowGradient gradient;
};

// The loss of one row; its logits become e^(l - largest) where `gradient` asks for the second pass.
RowResult row_loss(float* logits, int64_t vocabulary, int64_t label, float weight, float smoothing, bool gradient) {
  vfloat top = splat(-INFINITY);
  each_vector(vocabulary, [&](int64_t v, auto part) {
    top = maximum(top, only(load(logits + v, part), part, splat(-INFINITY)));
  });
  const float high = largest(top), label_logit = logits[label];
  RowResult result{};
  result.correct = label_logit == high && std::find(logits, logits + label, high) == logits + label;
  float distances = 0;  // of all logits to the largest
  if (smoothing > 0)
    distances = sum_over(vocabulary, [&](int64_t v, auto part) { return only(load(logits + v, part) - high, part); });
  const float total = sum_over(vocabulary, [&](int64_t v, auto part) {
    const vfloat e = exp(load(logits + v, part) - high);
    if (gradient) store(logits + v, e, part);
    return only(e, part);
  });
  const float mean = distances / static_cast<float>(vocabulary);
  result.loss = weight * (std::log(total) - (1 - smoothing) * (label_logit - high) - (smoothing > 0 ? smoothing * mean : 0));
  result.gradient = {weight / total, weight * smoothing / static_cast<float>(vocabulary), weight * (1 - smoothing)};
  return result;
}

// dlogits may be the exponentials themselves.
template <class T>
void row_gradient(const float* exponentials, T* dlogits, int64_t vocabulary, int64_t label, float scale,
                  const RowGradient& gradient) {
  const float factor = scale * gradient.scale, everywhere = scale * gradient.everywhere;
  const float at_label = exponentials[label] * factor - everywhere - scale * gradient.at_label;
  each_vector(vocabulary, [&](int64_t v, auto part) {
    store(dlogits + v, load(exponentials + v, part) * factor - everywhere, part);
  });
  if constexpr (std::is_same_v<T, float>)
    dlogits[label] = at_label;
  else
    dlogits[label] = T(at_label);
}

void check(const CrossEntropyArgs& args) {
  const char* name = "cross_entropy";
  const int64_t rows = args.labels.count(), vocabulary = args.weight.rows(), cols = args.weight.cols();
  require(vocabulary > 0, name, ": weight is ", args.weight.shape.text(), ": there are no tokens");
  check_matrix(name, "weight", args.weight, DType::f32, vocabulary, cols);
  check_activation(name, "x", args.x, rows, cols);
  check_vector(name, "labels", args.labels, DType::i32, rows);
  check_vector(name, "totals", args.totals, DType::f32, 3);
  if (args.bias) check_vector(name, "bias", args.bias, DType::f32, vocabulary);
  if (args.row_weights) check_vector(name, "row_weights", args.row_weights, DType::f32, rows);
  if (args.row_losses) check_vector(name, "row_losses", args.row_losses, DType::f32, rows);
  if (args.dx) check_activation(name, "dx", args.dx, rows, cols);
  if (args.dx && args.dweight) check_matrix(name, "dweight", args.dweight, DType::f32, vocabulary, cols);
  if (args.dx && args.dbias) check_vector(name, "dbias", args.dbias, DType::f32, vocabulary);
  require(!args.dx || !args.dbias || args.dweight, name, ": dbias is given without dweight");
  require(args.label_smoothing >= 0 && args.label_smoothing <= 1, name, ": label_smoothing is ", args.label_smoothing,
          ", not in 0 ... 1");
  const int32_t* label = args.labels.as<int32_t>();
  for (int64_t r = 0; r < rows; ++r)
    require((label[r] >= 0 && label[r] < vocabulary) || label[r] == ignored_label, name, ": labels[", r, "] is ", label[r],
            ", neither in 0 ... ", vocabulary - 1, " nor ", ignored_label);
}

}  // namespace

void CpuOps::cross_entropy(const CrossEntropyArgs& args) {
  check(args);
  const int64_t rows = args.labels.count(), vocabulary = args.weight.rows(), cols = args.weight.cols();
  const int32_t* labels = args.labels.as<int32_t>();
  ArenaScope scope(workspace_);

  // The rows that are scored. Where some are not, the others are gathered for the projection and dx is scattered back.
  int32_t* scored = workspace_.make(DType::i32, {rows}).as<int32_t>();
  int64_t count = 0;
  for (int64_t r = 0; r < rows; ++r)
    if (labels[r] != ignored_label) scored[count++] = static_cast<int32_t>(r);
  const bool gathered = count < rows;
  if (args.row_losses) memory().zero(args.row_losses.data, args.row_losses.bytes());
  if (args.dx && gathered) memory().zero(args.dx.data, args.dx.bytes());
  if (!count) return;

  const int64_t chunk = rows_a_chunk(count, vocabulary);
  const Tensor logits = workspace_.make(DType::f32, {chunk, vocabulary});
  const Tensor dlogits = args.compute == DType::f32 || !args.dx ? logits : workspace_.make(DType::bf16, {chunk, vocabulary});
  const Tensor x_rows = gathered ? workspace_.make(args.x.dtype, {chunk, cols}) : Tensor{};
  const Tensor dx_rows = gathered && args.dx ? workspace_.make(args.dx.dtype, {chunk, cols}) : Tensor{};
  RowResult* results = static_cast<RowResult*>(
      workspace_.make(DType::u8, {chunk * static_cast<int64_t>(sizeof(RowResult))}).data);
  // Weights that several chunks multiply with are laid out for it once.
  Tensor packed_forward, packed_backward;
  if (chunk < count) {
    const auto pack = [&](bool transpose, int64_t k, int64_t n) {
      const Tensor packed =
          workspace_.make(DType::u8, {static_cast<int64_t>(packed_bytes(k, n, args.compute))});
      pack_matrix({.b = args.weight, .transpose_b = transpose, .compute = args.compute, .packed = packed});
      return packed;
    };
    packed_forward = pack(true, cols, vocabulary);
    if (args.dx) packed_backward = pack(false, vocabulary, cols);
  }

  double loss = 0, weights = 0;
  int64_t correct = 0;
  for (int64_t begin = 0; begin < count; begin += chunk) {
    const int64_t size = std::min(chunk, count - begin);
    const Tensor index{scored + begin, DType::i32, {size}};
    const Tensor x = gathered ? x_rows.row_range(0, size) : args.x.reshaped({rows, cols}).row_range(begin, begin + size);
    if (gathered) gather_rows({.x = args.x.reshaped({rows, cols}), .index = index, .y = x});
    const Tensor l = logits.row_range(0, size), dl = dlogits.row_range(0, size);
    matmul({.a = x, .b = args.weight, .c = l, .transpose_b = true, .compute = args.compute, .packed_b = packed_forward,
            .bias = args.bias});
    const float* row_weights = args.row_weights.as<float>();
    parallel_chunks(size, std::max<int64_t>(1, 16384 / vocabulary), [&](int64_t first, int64_t last) {
      for (int64_t r = first; r < last; ++r) {
        const int32_t row = scored[begin + r];
        float* row_logits = l.as<float>() + r * vocabulary;
        const bool gradient = static_cast<bool>(args.dx);
        const float weight = row_weights ? row_weights[row] : 1.0f;
        results[r] = row_loss(row_logits, vocabulary, labels[row], weight, args.label_smoothing, gradient);
        if (gradient)
          with_elements(dl, [&](auto* to) {
            row_gradient(row_logits, to + r * vocabulary, vocabulary, labels[row], args.gradient_scale, results[r].gradient);
          });
      }
    });
    for (int64_t r = 0; r < size; ++r) {
      const int32_t row = scored[begin + r];
      loss += static_cast<double>(results[r].loss);
      weights += row_weights ? static_cast<double>(row_weights[row]) : 1.0;
      correct += results[r].correct;
      if (args.row_losses) args.row_losses.as<float>()[row] = results[r].loss;
    }
    if (!args.dx) continue;
    const Tensor dx = gathered ? dx_rows.row_range(0, size) : args.dx.reshaped({rows, cols}).row_range(begin, begin + size);
    matmul({.a = dl, .b = args.weight, .c = dx, .compute = args.compute, .packed_b = packed_backward});
    if (gathered) scatter_rows({.x = dx, .index = index, .y = args.dx.reshaped({rows, cols})});
    if (args.dweight)
      matmul({.a = dl, .b = x, .c = args.dweight, .transpose_a = true, .accumulate = true, .compute = args.compute,
              .a_row_sums = args.dbias});
  }
  float* totals = args.totals.as<float>();
  totals[0] += static_cast<float>(loss);
  totals[1] += static_cast<float>(weights);
  totals[2] += static_cast<float>(correct);
}

}  // namespace engine::ENGINE_ISA
