#include "kernels/losses/cross_entropy.h"

#include <algorithm>
#include <cmath>

#include "core/parallel.h"
#include "kernels/checks.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/vector_loop.h"

namespace engine::ENGINE_ISA {
namespace {

// The terms of one row's gradient: dl_v = scale e^(l_v - largest) - everywhere, less `at_label` at the label and plus
// `at_penalised` at the penalised token.
struct RowGradient {
  float scale, everywhere, at_label, at_penalised;
};

// A penalty on a token.
struct Penalty {
  float weight;
  int64_t token;
};

struct RowResult {
  float loss;
  bool correct;
  RowGradient gradient;
};

// Takes the loss of one row. With `gradient` a second pass turns its logits into e^(l - largest).
RowResult row_loss(float* logits, int64_t vocabulary, int64_t label, float weight, const Penalty& penalty,
                   float smoothing, bool gradient) {
  vfloat top = splat(-INFINITY);
  each_vector(vocabulary,
              [&](int64_t v, auto part) { top = maximum(top, only(load(logits + v, part), part, splat(-INFINITY))); });
  const float high = largest(top), label_logit = logits[label];
  const float penalised_logit = penalty.weight != 0 ? logits[penalty.token] : 0;
  RowResult result{};
  result.correct = label_logit == high && std::find(logits, logits + label, high) == logits + label;
  float distances = 0;  // from all logits to the largest
  if (smoothing > 0)
    distances = sum_over(vocabulary, [&](int64_t v, auto part) { return only(load(logits + v, part) - high, part); });
  const float total = sum_over(vocabulary, [&](int64_t v, auto part) {
    const vfloat e = exp(load(logits + v, part) - high);
    if (gradient) store(logits + v, e, part);
    return only(e, part);
  });
  const float mean = distances / static_cast<float>(vocabulary);
  result.loss =
      weight * (std::log(total) - (1 - smoothing) * (label_logit - high) - (smoothing > 0 ? smoothing * mean : 0));
  result.gradient = {weight / total, weight * smoothing / static_cast<float>(vocabulary), weight * (1 - smoothing), 0};
  if (penalty.weight != 0) {
    const float of_token = std::exp(penalised_logit - high), others = (total - of_token) / total;
    const float rest = others < least_rest ? least_rest : others;  // a NaN stays
    const float slope = penalty.weight * (of_token / total / rest);
    result.loss -= penalty.weight * std::log(rest);
    result.gradient.scale -= slope / total;
    result.gradient.at_penalised = slope;
  }
  return result;
}

// Takes the gradient of one row. dlogits may be the exponentials themselves.
template <class T>
void row_gradient(const float* exponentials, T* dlogits, int64_t vocabulary, int64_t label, int64_t penalised,
                  float scale, const RowGradient& gradient) {
  const float factor = scale * gradient.scale, everywhere = scale * gradient.everywhere;
  const auto added = [&](int64_t token) {
    return (token == penalised ? scale * gradient.at_penalised : 0) - (token == label ? scale * gradient.at_label : 0);
  };
  const float at_label = exponentials[label] * factor - everywhere + added(label);
  const float at_penalised = penalised < 0 ? 0 : exponentials[penalised] * factor - everywhere + added(penalised);
  each_vector(vocabulary, [&](int64_t v, auto part) {
    store(dlogits + v, load(exponentials + v, part) * factor - everywhere, part);
  });
  dlogits[label] = static_cast<T>(at_label);
  if (penalised >= 0) dlogits[penalised] = static_cast<T>(at_penalised);
}

void check_labels(const CrossEntropyArgs& args) {
  const int64_t rows = args.labels.count(), vocabulary = args.weight.rows();
  const int32_t* label = args.labels.as<int32_t>();
  for (int64_t r = 0; r < rows; ++r)
    require((label[r] >= 0 && label[r] < vocabulary) || label[r] == ignored_label,
            "cross_entropy: labels[", r, "] is ",
            label[r], ", neither in 0 ... ", vocabulary - 1, " nor ", ignored_label);
}

// The operation's scratch and its steps over a chunk of scored rows.
class Projection {
 public:
  Projection(Ops& ops, Arena& workspace, const CrossEntropyArgs& args)
      : ops_(ops),
        workspace_(workspace),
        args_(args),
        rows_(args.labels.count()),
        vocabulary_(args.weight.rows()),
        cols_(args.weight.cols()),
        labels_(args.labels.as<int32_t>()),
        row_weights_(args.row_weights.as<float>()),
        scored_(workspace.make(DType::i32, {rows_}).as<int32_t>()) {
    for (int64_t r = 0; r < rows_; ++r)
      if (labels_[r] != ignored_label) scored_[count_++] = static_cast<int32_t>(r);
    const bool narrow = args.dx && args.compute == DType::bf16;  // dlogits are in bf16
    chunk_ = rows_within(narrow ? narrow_budget : chunk_budget, count_, vocabulary_ * (narrow ? 2 : 4), most_rows);
    part_ = args.dx && !narrow ? chunk_ : rows_within(part_budget, chunk_, vocabulary_ * 4, most_rows);
    logits_ = dlogits_ = workspace.make(DType::f32, {part_, vocabulary_});
    if (narrow) dlogits_ = workspace.make(DType::bf16, {chunk_, vocabulary_});
    results_ =
        static_cast<RowResult*>(workspace.make(DType::u8, {part_ * static_cast<int64_t>(sizeof(RowResult))}).data);
    if (count_ < rows_) {
      gathered_x_ = workspace.make(args.x.dtype, {chunk_, cols_});
      if (args.dx) gathered_dx_ = workspace.make(args.dx.dtype, {chunk_, cols_});
    }
    // The weight is packed once for several products with it, where the products are so fast that this counts.
    const bool often = args.compute == DType::bf16 && count_ > 4 * chunk_;
    if (often) packed_forward_ = packed(true, cols_, vocabulary_);
    if (often && args.dx) packed_backward_ = packed(false, vocabulary_, cols_);
  }

  void run() {
    if (args_.row_losses) ops_.memory().zero(args_.row_losses.data, args_.row_losses.bytes());
    if (args_.dx && count_ < rows_) ops_.memory().zero(args_.dx.data, args_.dx.bytes());
    for (int64_t begin = 0; begin < count_; begin += chunk_) {
      const int64_t size = std::min(chunk_, count_ - begin);
      const Tensor x = rows_of_x(begin, size);
      forward(begin, size, x);
      if (args_.dx) gradients(begin, size, x);
    }
    float* totals = args_.totals.as<float>();
    totals[0] += static_cast<float>(loss_);
    totals[1] += static_cast<float>(weights_);
    totals[2] += static_cast<float>(correct_);
  }

 private:
  // Takes a chunk's losses, and its dlogits where there are gradients, part by part.
  void forward(int64_t begin, int64_t size, const Tensor& x) {
    const ArenaScope scope(workspace_);
    const Tensor weight = packed_forward_ || size <= part_ ? packed_forward_ : packed(true, cols_, vocabulary_);
    for (int64_t first = 0; first < size; first += part_) {
      const int64_t rows = std::min(part_, size - first);
      ops_.matmul({.a = x.row_range(first, first + rows),
                   .b = args_.weight,
                   .c = logits_.row_range(0, rows),
                   .transpose_b = true,
                   .compute = args_.compute,
                   .packed_b = weight,
                   .bias = args_.bias});
      if (args_.ranks || args_.likeliest) look_at_logits(begin + first, rows);
      losses(begin + first, rows, dlogits_.dtype == DType::bf16 ? dlogits_.row_range(first, first + rows) : logits_);
    }
  }

  // Takes ranks and the likeliest tokens from the logits of some scored rows.
  void look_at_logits(int64_t begin, int64_t size) {
    const ArenaScope scope(workspace_);
    const Tensor logits = logits_.row_range(0, size), tokens = workspace_.make(DType::i32, {size}),
                 found = workspace_.make(DType::i32, {size});
    const auto put = [&](const Tensor& to) {
      for (int64_t r = 0; r < size; ++r) to.as<int32_t>()[scored_[begin + r]] = found.as<int32_t>()[r];
    };
    if (args_.ranks) {
      for (int64_t r = 0; r < size; ++r)
        tokens.as<int32_t>()[r] = args_.ranked_token < 0 ? labels_[scored_[begin + r]] : args_.ranked_token;
      ops_.rank({.logits = logits, .tokens = tokens, .ranks = found});
      put(args_.ranks);
    }
    if (!args_.likeliest) return;
    ops_.sample({.logits = logits, .tokens = found});
    put(args_.likeliest);
  }

  // Takes dx = dlogits W, part by part: matmul's copy of dlogits is then as small as a part.
  void input_gradient(const Tensor& dlogits, const Tensor& dx) {
    const ArenaScope scope(workspace_);
    const int64_t size = dx.rows();
    const Tensor weight = packed_backward_ || size <= part_ ? packed_backward_ : packed(false, vocabulary_, cols_);
    for (int64_t first = 0; first < size; first += part_) {
      const int64_t last = std::min(size, first + part_);
      ops_.matmul({.a = dlogits.row_range(first, last),
                   .b = args_.weight,
                   .c = dx.row_range(first, last),
                   .compute = args_.compute,
                   .packed_b = weight});
    }
  }

  Tensor packed(bool transpose, int64_t k, int64_t n) {
    const Tensor result = workspace_.make(DType::u8, {static_cast<int64_t>(ops_.packed_bytes(k, n, args_.compute))});
    ops_.pack_matrix({.b = args_.weight, .transpose_b = transpose, .compute = args_.compute, .packed = result});
    return result;
  }
  Tensor index(int64_t begin, int64_t size) const { return {scored_ + begin, DType::i32, {size}}; }

  // Returns a chunk's rows of x. It gathers them where some rows are ignored.
  Tensor rows_of_x(int64_t begin, int64_t size) {
    const Tensor all = args_.x.reshaped({rows_, cols_});
    if (!gathered_x_) return all.row_range(begin, begin + size);
    const Tensor x = gathered_x_.row_range(0, size);
    ops_.gather_rows({.x = all, .index = index(begin, size), .y = x});
    return x;
  }

  // Takes the logits' losses, summed in the order of the rows, and dlogits where there are gradients.
  void losses(int64_t begin, int64_t size, const Tensor& to) {
    const bool gradient = static_cast<bool>(args_.dx);
    with_elements(to, [&](auto* dlogits) {
      parallel_chunks(size, std::max<int64_t>(1, 16384 / vocabulary_), [&](int64_t first, int64_t last) {
        for (int64_t r = first; r < last; ++r) {
          const int32_t row = scored_[begin + r];
          float* logits = logits_.as<float>() + r * vocabulary_;
          const Penalty penalty{args_.penalties ? args_.penalties.as<float>()[row] : 0, args_.penalised_token};
          results_[r] = row_loss(logits, vocabulary_, labels_[row], row_weights_ ? row_weights_[row] : 1.0f, penalty,
                                 args_.label_smoothing, gradient);
          if (gradient)
            row_gradient(logits, dlogits + r * vocabulary_, vocabulary_, labels_[row],
                         penalty.weight != 0 ? penalty.token : -1, args_.gradient_scale, results_[r].gradient);
        }
      });
    });
    for (int64_t r = 0; r < size; ++r) {
      const int32_t row = scored_[begin + r];
      loss_ += static_cast<double>(results_[r].loss);
      weights_ += row_weights_ ? static_cast<double>(row_weights_[row]) : 1.0;
      correct_ += results_[r].correct;
      if (args_.row_losses) args_.row_losses.as<float>()[row] = results_[r].loss;
    }
  }

  void gradients(int64_t begin, int64_t size, const Tensor& x) {
    const Tensor all = args_.dx.reshaped({rows_, cols_}), dlogits = dlogits_.row_range(0, size);
    const Tensor dx = gathered_dx_ ? gathered_dx_.row_range(0, size) : all.row_range(begin, begin + size);
    input_gradient(dlogits, dx);
    if (gathered_dx_) ops_.scatter_rows({.x = dx, .index = index(begin, size), .y = all});
    if (args_.dweight)
      ops_.matmul({.a = dlogits,
                   .b = x,
                   .c = args_.dweight,
                   .transpose_a = true,
                   .accumulate = true,
                   .compute = args_.compute,
                   .a_row_sums = args_.dbias});
  }

  // A chunk reads and writes the weight's gradient once, and under bf16 packs the weight, which counts beside products
  // so fast. So chunks are long: there 1,024 rows of GPT-2's vocabulary are one. But a training step uses the most
  // memory here. A part's logits stay in the L3 cache.
  static constexpr int64_t chunk_budget = int64_t{48} << 20, narrow_budget = int64_t{112} << 20;
  static constexpr int64_t part_budget = int64_t{24} << 20;
  static constexpr int64_t most_rows = 2048;  // a small vocabulary's logits stay in the cache

  Ops& ops_;
  Arena& workspace_;
  const CrossEntropyArgs& args_;
  int64_t rows_, vocabulary_, cols_;
  const int32_t* labels_;
  const float* row_weights_;
  int32_t* scored_;          // rows that are not ignored
  int64_t count_ = 0;        // scored rows
  int64_t chunk_, part_;     // rows whose gradients are taken at once, whose logits are held at once
  Tensor logits_, dlogits_;  // one tensor under f32 compute
  Tensor gathered_x_, gathered_dx_;
  Tensor packed_forward_, packed_backward_;
  RowResult* results_;
  double loss_ = 0, weights_ = 0;
  int64_t correct_ = 0;
};

}  // namespace

void CpuOps::cross_entropy(const CrossEntropyArgs& args) {
  check_cross_entropy(args);
  check_labels(args);
  ArenaScope scope(workspace_);
  Projection(*this, workspace_, args).run();
}

}  // namespace engine::ENGINE_ISA
