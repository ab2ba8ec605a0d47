// Projection and cross entropy on a device.
//
// Rows pass in chunks. A matrix product gives their logits in f32. One kernel goes over the logits twice, a block a
// row, writes the losses, and leaves the gradient in the logits' place. Two more products turn that into dx and
// dweight, which is read and written once a chunk. Under bf16 a row of the gradient is the first half of its logits'
// row. Rows begin on 16 bytes for every vocabulary. No kernel reads behind the end of a row of logits, and a gradient's
// row ends with zeros. A weight that is not bf16 yet is rounded once.
//
// The kernel reads a logit twice, the second time from the second-level cache where a row fits (200 KB a row of 50
// thousand tokens, a row or two a multiprocessor), and writes its gradient: 4 to 8 bytes read, 2 or 4 written. A thread
// keeps a running largest logit and a running sum relative to it. The sums are brought to the row's largest logit
// before they are added.
//
// Only the device knows the ignored rows, so that they are not gathered away as on the CPU. Zeros replace their x, and
// their gradient is zero. A model that ignores many rows gathers the others before.
#include "kernels/losses/cross_entropy.h"

#include <algorithm>
#include <cfloat>

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/vector.h"
#include "kernels/losses/cuda/row_losses.h"
#include "kernels/matmul/cuda/matmul.h"
#include "kernels/sampling/cuda/logit_order.h"
#include "kernels/sizes.h"

namespace engine::cuda {
namespace {

constexpr int copy_warps = 8, total_threads = 1024;
// A label that is no token counts as ignored, once its fault is reported.
__device__ __forceinline__ bool is_scored(int label, int vocabulary) { return label >= 0 && label < vocabulary; }

// Copies to[r] = x[r], with zeros behind its end, and writes zeros for an ignored row. A warp takes a row.
template <int width, class X, class To>
__global__ void __launch_bounds__(copy_warps* warp_size)
    copy_scored_rows(const X* x, To* to, const int32_t* labels, int rows, int cols, int stride, int vocabulary,
                     int first_row, FaultReport fault) {
  const int row = static_cast<int>(blockIdx.x) * copy_warps + warp_index();
  const int lane = lane_index();
  if (row >= rows) return;
  const int label = labels[row];
  const bool scored = is_scored(label, vocabulary);
  if (!scored && label != ignored_label && lane == 0)
    report_fault(fault, FaultKind::label, first_row + row, label, vocabulary);
  for (int col = lane * width; col < stride; col += warp_size * width) {
    float values[width];
    load_floats_before(x + int64_t{row} * cols + col, scored ? cols - col : 0, width > 1, values);
    store_floats(to + int64_t{row} * stride + col, values);
  }
}

struct Rows {
  float* logits;
  int vocabulary;
  int stride;  // elements of a row of logits
  bool takes_gradient;
  const int32_t* labels;
  const float* row_weights;  // may be null, which means 1
  const float* penalties;    // may be null, which means 0
  int penalised_token;
  float *losses, *correct;
  int32_t *ranks, *likeliest;  // may be null
  int ranked_token;            // below 0: the label
  float smoothing, gradient_scale;
};

__device__ __forceinline__ float exponential(float x) { return exp2_fast(x * 1.44269504f); }

// Returns the probability of all tokens but one, of which the exponentials are given. A NaN stays.
__device__ __forceinline__ float rest_of(float of_token, float total) {
  const float others = (total - of_token) / total;
  return others < least_rest ? least_rest : others;
}

// The gradients at the label and at the penalised token, which lie where they cost no thread a register.
struct TwoGradients {
  float at_label, at_penalised;
};

// Computes a row's loss and leaves its gradient, as T, in the logits' place.
template <class T>
__global__ void __launch_bounds__(1024) loss_and_gradient(const Rows a) {
  constexpr int width = vector_width<T>;
  const int row = static_cast<int>(blockIdx.x), thread = static_cast<int>(threadIdx.x);
  const int step = static_cast<int>(blockDim.x) * width, label = a.labels[row];
  float* const logits = a.logits + int64_t{row} * a.stride;
  T* const dlogits = reinterpret_cast<T*>(logits);
  float part[width];
  if (!is_scored(label, a.vocabulary)) {
    for (int i = 0; i < width; ++i) part[i] = 0;
    for (int v = thread * width; a.takes_gradient && v < a.stride; v += step) store_floats(dlogits + v, part);
    if (thread == 0) a.losses[row] = a.correct[row] = 0;
    return;
  }
  // Begins with the least finite number, so that logits of -infinity give 0 and not a NaN.
  float top = -FLT_MAX, sum = 0, all = 0;
  const float ranked = logits[a.ranked_token < 0 ? label : a.ranked_token];
  unsigned above = 0;  // logits before the ranked token's in the order of rank.cu
  int at = a.vocabulary;
  for (int v = thread * width; v < a.vocabulary; v += step) {
    load_floats_before(logits + v, a.vocabulary - v, true, part);
    float largest = top;
    int largest_at = at;
    ENGINE_UNROLL
    for (int i = 0; i < width; ++i) {
      if (v + i >= a.vocabulary) part[i] = -INFINITY;
      else all += part[i], above += part[i] == part[i] && !(part[i] <= ranked);
      if (part[i] > largest) largest = part[i], largest_at = v + i;
    }
    sum *= exponential(top - largest);
    ENGINE_UNROLL
    for (int i = 0; i < width; ++i) sum += v + i < a.vocabulary ? exponential(part[i] - largest) : 0;
    top = largest;
    at = largest_at;
  }
  const uint64_t first = block_max(rank_of(top, at));
  const float high = logit_of(static_cast<uint32_t>(first >> 32));
  const float total = block_sum(sum * exponential(top - high));
  const float mean = a.smoothing > 0 ? block_sum(all) / static_cast<float>(a.vocabulary) - high : 0;
  const float weight = a.row_weights ? a.row_weights[row] : 1;
  const uint64_t before = a.ranks ? block_sum(uint64_t{above}) : 0;
  const float own = logits[label], penalty = a.penalties ? a.penalties[row] : 0.0f;
  const int penalised = penalty != 0.0f ? a.penalised_token : -1;
  const float of_token = penalised < 0 ? 0.0f : exponential(logits[penalised] - high), rest = rest_of(of_token, total);
  if (thread == 0) {
    a.losses[row] = weight * (logf(total) - (1 - a.smoothing) * (own - high) - a.smoothing * mean);
    if (penalised >= 0) a.losses[row] -= penalty * logf(rest);
    a.correct[row] = token_of(first) == label ? 1 : 0;
    if (a.ranks) a.ranks[row] = 1 + static_cast<int>(before);
    if (a.likeliest) a.likeliest[row] = token_of(first);
  }
  if (!a.takes_gradient) return;
  const float scale = a.gradient_scale * weight;
  const float slope = penalised < 0 ? 0.0f : a.gradient_scale * penalty * (of_token / total / rest);
  const float factor = (scale - slope) / total;
  const float everywhere = scale * a.smoothing / static_cast<float>(a.vocabulary);
  auto& [at_label, at_penalised] = block_shared<TwoGradients>();
  if (thread == 0) {
    const float of_label = scale * (1 - a.smoothing), is_same = label == penalised ? 1.0f : 0.0f;
    at_label = exponential(own - high) * factor - everywhere - of_label + is_same * slope;
    at_penalised = of_token * factor - everywhere + slope - is_same * of_label;
  }
  sync_block();  // every thread has read the label's logit
  for (int begin = 0; begin < a.stride; begin += step) {
    const int v = begin + thread * width;
    if (v < a.stride) load_floats_before(logits + v, a.vocabulary - v, true, part);
    // A narrower gradient overlaps logits that other threads read in this turn or before.
    if constexpr (sizeof(T) < sizeof(float)) sync_block();
    if (v >= a.stride) continue;
    ENGINE_UNROLL
    for (int i = 0; i < width; ++i) {
      const float d = exponential(part[i] - high) * factor - everywhere;
      part[i] = v + i < a.vocabulary ? d : 0;
    }
    store_floats(dlogits + v, part);
  }
  sync_block();
  if (thread == 0) dlogits[a.labels[row]] = from_float<T>(at_label);
  if (thread == 0 && penalised >= 0) dlogits[a.penalised_token] = from_float<T>(at_penalised);
}

// Adds the sums over all rows, in double, to the totals, by one block.
__global__ void __launch_bounds__(total_threads)
    add_totals(const float* losses, const float* correct, const int32_t* labels, const float* row_weights, int rows,
               int vocabulary, float* totals) {
  double loss = 0, weight = 0, right = 0;
  for (int row = static_cast<int>(threadIdx.x); row < rows; row += total_threads) {
    if (!is_scored(labels[row], vocabulary)) continue;
    loss += static_cast<double>(losses[row]);
    weight += row_weights ? static_cast<double>(row_weights[row]) : 1.0;
    right += static_cast<double>(correct[row]);
  }
  loss = block_sum(loss);
  weight = block_sum(weight);
  right = block_sum(right);
  if (threadIdx.x != 0) return;
  totals[0] += static_cast<float>(loss);
  totals[1] += static_cast<float>(weight);
  totals[2] += static_cast<float>(right);
}

// Holds the operation's scratch and its steps over a chunk of rows. T is the type of the products' operands.
template <class T>
class Projection {
 public:
  Projection(MatrixProducts& products, Arena& workspace, const Device& device, const CrossEntropyArgs& args)
      : products_(products), device_(device), args_(args), rows_(args.labels.count()), vocabulary_(args.weight.rows()),
        cols_(args.weight.cols()), stride_(padded(vocabulary_, type)), x_stride_(padded(cols_, type)) {
    chunk_ = rows_within(args.dx ? chunk_budget : loss_budget, rows_, stride_ * 4, args.dx ? most_rows : most_rows / 2);
    logits_ = workspace.make(DType::f32, {chunk_, stride_});
    x_ = workspace.make(type, {chunk_, x_stride_});
    losses_ = room_for_losses(args.row_losses, rows_, workspace);
    correct_ = workspace.make(DType::f32, {rows_}).as<float>();
    weight_ = {args.weight.data, args.weight.dtype, true, vocabulary_, cols_, cols_};
    if (weight_.dtype == type && (type == DType::f32 || takes_vectors(vector_width<T>, cols_, {weight_.data}))) return;
    const Tensor own = workspace.make(type, {vocabulary_, x_stride_});
    products.convert(weight_, type, x_stride_, own.data);
    weight_ = {own.data, type, true, vocabulary_, cols_, x_stride_};
  }

  void run() {
    for (int64_t begin = 0; begin < rows_; begin += chunk_) {
      const int64_t size = std::min(chunk_, rows_ - begin);
      copy_rows(begin, size);
      losses(begin, size);
      if (args_.dx) gradients(begin, size);
    }
    launch(add_totals, blocks(1), total_threads, 0, device_.compute_stream(), losses_, correct_,
           args_.labels.as<int32_t>(), args_.row_weights.as<float>(), rows_, vocabulary_, args_.totals.as<float>());
  }

 private:
  static constexpr DType type = std::is_same_v<T, float> ? DType::f32 : DType::bf16;

  void copy_rows(int64_t begin, int64_t size) {
    with_device_elements(args_.x, [&]<class X>(X* all) {
      constexpr int vector = vector_width<X, T>;
      const X* const x = all + begin * cols_;
      T* const to = static_cast<T*>(x_.data);
      launch(takes_vectors(vector, cols_, {x, to}) ? copy_scored_rows<vector, X, T> : copy_scored_rows<1, X, T>,
             blocks(ceil_div(size, copy_warps)), copy_warps * warp_size, 0, device_.compute_stream(), x, to,
             args_.labels.as<int32_t>() + begin, size, cols_, x_stride_, vocabulary_, begin, device_.fault());
    });
  }

  // Computes a chunk's logits and losses, and the gradient of its logits.
  void losses(int64_t begin, int64_t size) {
    Epilogue epilogue;
    epilogue.c = logits_;
    epilogue.bias = args_.bias.as<float>();
    products_.multiply({{x_.data, type, true, size, cols_, x_stride_}, weight_, type, epilogue});
    const auto from = [begin](const Tensor& all) { return all ? all.as<int32_t>() + begin : nullptr; };
    const Rows rows{logits_.as<float>(), static_cast<int>(vocabulary_), static_cast<int>(stride_), bool(args_.dx),
                    args_.labels.as<int32_t>() + begin,
                    args_.row_weights ? args_.row_weights.as<float>() + begin : nullptr,
                    args_.penalties ? args_.penalties.as<float>() + begin : nullptr, args_.penalised_token,
                    losses_ + begin, correct_ + begin, from(args_.ranks), from(args_.likeliest), args_.ranked_token,
                    args_.label_smoothing, args_.gradient_scale};
    launch(loss_and_gradient<T>, blocks(size), threads_of_row(vocabulary_, 32), 0, device_.compute_stream(), rows);
  }

  void gradients(int64_t begin, int64_t size) {
    Epilogue to_dx, to_dweight;
    to_dx.c = args_.dx.reshaped({rows_, cols_}).row_range(begin, begin + size);
    const Factor weight{weight_.data, type, false, cols_, vocabulary_, weight_.stride};
    // Elements of a row of the gradient.
    const int64_t stride = stride_ * static_cast<int64_t>(sizeof(float) / sizeof(T));
    products_.multiply({{logits_.data, type, true, size, vocabulary_, stride}, weight, type, to_dx});
    if (!args_.dweight) return;
    to_dweight.c = args_.dweight;
    to_dweight.accumulate = true;
    const Factor transposed{logits_.data, type, false, vocabulary_, size, stride};
    products_.multiply({transposed, {x_.data, type, false, cols_, size, x_stride_}, type, to_dweight,
                        args_.dbias.as<float>()});
  }

  static constexpr int64_t chunk_budget = int64_t{640} << 20, loss_budget = int64_t{128} << 20, most_rows = 8192;

  MatrixProducts& products_;
  const Device& device_;
  const CrossEntropyArgs& args_;
  int64_t rows_, vocabulary_, cols_;
  int64_t stride_, x_stride_;  // elements of a row of logits, of x
  int64_t chunk_;              // rows whose logits exist at once
  Tensor logits_;              // a chunk's
  Tensor x_;                   // a chunk's, zeros for ignored rows
  Factor weight_;
  float *losses_, *correct_;
};

}  // namespace

void CudaOps::cross_entropy(const CrossEntropyArgs& args) {
  const Operation operation("cross_entropy", {args.x, args.weight, args.labels});
  check_cross_entropy(args);
  if (!args.labels.count()) return;
  const ArenaScope scope(workspace_);
  if (args.compute == DType::bf16) Projection<bfloat16>(products(), workspace_, device_, args).run();
  else Projection<float>(products(), workspace_, device_, args).run();
}

}  // namespace engine::cuda
