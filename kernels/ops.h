// The whole vocabulary of operations. A backend implements Ops; models are written in nothing else.
//
// Letters: N tokens in the batch, S sequences, C width, H heads, D head width (C = H D), F feed-forward width,
// V vocabulary, R rows that are scored.
//
// Conventions, unless an operation says otherwise:
// - Activations x, y, dx, dy are f32 or bf16; parameters, their gradients, statistics (mean, rstd, lse) and everything
//   that is summed are f32; indices are i32. Arguments named "optional" may be left out (Tensor{}).
// - "=" is written, "+=" is added to what is there. Parameter gradients are always +=.
// - Sums are taken in f32 and every operation gives the same bits for the same inputs at any number of threads.
// - Shapes and dtypes are checked; what does not fit is an Error that names the operation.
// - Each family has its formula, derivation and numerics in its own header, named beside it here.
#pragma once

#include <functional>
#include <memory>
#include <span>

#include "core/memory.h"
#include "core/random.h"
#include "core/tensor.h"

namespace engine {

// Some columns of a matrix, so that the parts of one fused q|k|v projection are used where they lie.
struct Columns {
  Tensor matrix;
  int64_t begin = 0;
  int64_t width = 0;

  Columns() = default;
  Columns(const Tensor& all) : matrix(all), width(all.cols()) {}  // NOLINT: a tensor is all of its columns
  Columns(const Tensor& of, int64_t first, int64_t count) : matrix(of), begin(first), width(count) {}
};

// Where the S sequences lie in a flat row of tokens: sequence s has rows begin[s] ... end[s]-1. A packed batch has one
// array of cumulative offsets, i32 [S+1]; a cache has slots with room to grow, so there begin and end are two arrays.
struct Segments {
  Tensor begin, end;    // i32 [S]
  int64_t longest = 0;  // the most rows in one sequence

  int64_t count() const { return begin.count(); }
  static Segments packed(const Tensor& offsets, int64_t longest) {
    Segments segments{offsets, offsets, longest};
    segments.begin.shape = segments.end.shape = {offsets.count() - 1};
    segments.end.data = offsets.as<int32_t>() + 1;
    return segments;
  }
};

// What may be other than 0 in blocks of a parameter's elements, u8 [note_blocks(elements)]: of a large table a batch
// names few rows. Whoever adds to a gradient notes `written`; adamw leaves `moments` of that.
struct BlockNotes {
  static constexpr int64_t block = 128;  // elements
  static constexpr uint8_t moments = 1, gradient = 2, written = moments | gradient;
};
inline int64_t note_blocks(int64_t elements) { return (elements + BlockNotes::block - 1) / BlockNotes::block; }

enum class Activation { none, relu, gelu, gelu_tanh, tanh };

// --- matmul.h: matrix products -------------------------------------------------------------------------------------
// t = op(a) op(b) + bias, op(a) [M, K], op(b) [K, N], op transposes where told to; then
//   c = act(t), or c = t * act'(gradient_at) where gradient_at is given; with accumulate c += instead.
struct MatmulArgs {
  Tensor a, b;                                // f32 or bf16
  Tensor c;                                   // [M, N], f32 or bf16
  bool transpose_a = false, transpose_b = false;
  bool accumulate = false;
  DType compute = DType::f32;                 // of the products; bf16: operands are rounded to bf16, sums are f32
  Tensor packed_b;                            // optional: op(b) as pack_matrix wrote it; b is then only its shape
  Tensor bias;                                // optional, f32 [N]
  Activation activation = Activation::none;
  Tensor before_activation;                   // optional, = t, [M, N] f32 or bf16
  Tensor gradient_at;                         // optional, [M, N] f32 or bf16
  Tensor a_row_sums;                          // optional, f32 [M], += the sums of op(a)'s rows: where a is dy
};                                            // transposed, this is the gradient of a bias

// packed = op(b) in the layout that matmul reads fastest, for weights that are used many times between two updates.
struct PackArgs {
  Tensor b;
  bool transpose_b = false;
  DType compute = DType::f32;
  Tensor packed;  // u8 [packed_bytes(K, N, compute)]
};

// --- activation.h: y = act(x); dx = dy act'(x) -----------------------------------------------------------------------
struct ActivationForwardArgs {
  Tensor x, y;  // y may be x
  Activation activation;
};
struct ActivationBackwardArgs {
  Tensor x, dy, dx;  // dx may be dy
  Activation activation;
};

// --- embedding.h: sum of token, position and type rows ---------------------------------------------------------------
// y[n] = drop(token_scale token_table[tokens[n]] + position_table[positions[n]] + type_table[types[n]])
struct EmbeddingForwardArgs {
  Tensor tokens;                           // i32 [N]
  Tensor positions, types;                 // optional, i32 [N]
  Tensor token_table;                      // f32 [V, C]
  Tensor position_table, type_table;       // as positions and types
  Tensor y;                                // [N, C]
  Dropout dropout;
  float token_scale = 1;
};
struct EmbeddingBackwardArgs {
  Tensor tokens, positions, types;
  Tensor dy;                               // [N, C]
  Tensor dtoken_table, dposition_table, dtype_table;  // f32, +=
  Dropout dropout;
  float token_scale = 1;
  Tensor token_notes;                      // optional, dtoken_table's (BlockNotes): set where it is added to
};

// --- layernorm.h: layernorm with fused residual addition and dropout ------------------------------------------------
// sum = residual + drop(x);  y = (sum - mean) rstd gain + bias, mean and rstd over each row.
struct LayerNormForwardArgs {
  Tensor x;                 // optional [N, C]
  Tensor residual;          // optional f32 [N, C]; one of x and residual is there
  Tensor sum;               // optional f32 [N, C], =; may be residual itself
  Tensor gain;              // f32 [C]
  Tensor bias;              // optional f32 [C]
  Tensor y;                 // [N, C], =
  Tensor mean, rstd;        // optional f32 [N], =; backward needs them
  float epsilon = 1e-5f;
  Dropout dropout;
};
// dsum = (accumulate: dsum +) dLN(dy);  dx = drop'(dsum).
struct LayerNormBackwardArgs {
  Tensor dy;                // [N, C]
  Tensor sum, mean, rstd;   // as forward wrote them (sum: what was normalised, f32)
  Tensor gain;
  Tensor dsum;              // f32 [N, C]: the gradient of the residual stream
  bool accumulate = false;
  Tensor dx;                // optional [N, C], =: the gradient of x; left out where nothing dropped and f32 serves
  Tensor dgain, dbias;      // f32 [C], +=; dbias optional
  Dropout dropout;
};

// --- attention.h: softmax(scale q k^T) v, fused ----------------------------------------------------------------------
// Query sequence s attends to key sequence s. Causal: aligned to the end of the key segment, so query i of q sees the
// keys 0 ... i + (k - q) of k. Scores are never held beyond a tile. Dropout acts on the probabilities; its element is
// (((first_row + query row) H + head) << 16) + key's index in its segment. A query that sees no key gives 0.
//
// Relative positions (optional): tables whose rows are added to k and to v by how far a key is from the query, at most
// `distances` each way. Rows 0, 1, ... stand for -distances, 1 - distances, ...
struct RelativeTables {
  int64_t distances = 0;    // 0: no tables
  Tensor keys, values;      // f32 [R, D], R = 2 distances + 1, causal distances + 1; may be one table
};
struct AttentionForwardArgs {
  Columns q;                // [N, H D]
  Columns k, v;             // [M, H D]
  int heads = 1;
  Segments queries, keys;   // over the rows of q, and of k and v
  bool causal = false;
  float scale = 1;
  Tensor y;                 // [N, H D], =
  Tensor lse;               // optional f32 [N, H], = log of the sum of exp(scores); backward needs it
  Dropout dropout;
  RelativeTables relative;
};
struct AttentionBackwardArgs {
  Columns q, k, v;
  int heads = 1;
  Segments queries, keys;
  bool causal = false;
  float scale = 1;
  Tensor y, dy, lse;
  Columns dq, dk, dv;       // =, for every row inside a segment
  Dropout dropout;
  RelativeTables relative;
  Tensor drelative_keys, drelative_values;  // f32 as the tables, +=; one where these are one
};

// --- cross_entropy.h: projection onto the vocabulary and cross entropy, fused ----------------------------------------
// logits = x weight^T + bias, for a few rows at a time. loss_r = w_r ((1-e) nll(label) + e mean_v nll(v)), e the label
// smoothing, w_r the row's weight (1). A label of -100 is ignored: its row has loss 0 and gradient 0.
struct CrossEntropyArgs {
  Tensor x;                 // [R, C]
  Tensor weight;            // f32 or bf16 [V, C]
  Tensor bias;              // optional f32 [V]
  Tensor labels;            // i32 [R]
  Tensor row_weights;       // optional f32 [R]
  float label_smoothing = 0;
  DType compute = DType::f32;
  Tensor totals;            // f32 [3], += loss sum, weight sum, rows whose largest logit is the label's
  Tensor row_losses;        // optional f32 [R], = (with the row's weight)
  float gradient_scale = 1; // of the loss sum: the step divides by its weight sum, known from the labels
  Tensor dx;                // optional [R, C], =; without it no gradient is taken
  Tensor dweight, dbias;    // f32, += (dbias as bias)
};

// --- soft_cross_entropy.h: how far a student's logits are from a teacher's (distillation) ---------------------------
// loss_r = T^2 KL(softmax(targets_r / T) || softmax(logits_r / T)), T the temperature.
struct SoftCrossEntropyArgs {
  Tensor logits;            // f32 [R, V], the student's
  Tensor targets;           // f32 [R, V], the teacher's logits
  float temperature = 1;
  Tensor totals;            // f32 [2], += loss sum, R
  Tensor row_losses;        // optional f32 [R], =
  float gradient_scale = 1; // of the loss sum
  Tensor dlogits;           // optional f32 [R, V], =; may be logits
};

// --- cosine_loss.h: the angle between two matrices' rows (distillation) ---------------------------------------------
// loss_r = 1 - cos(x_r, y_r)
struct CosineLossArgs {
  Tensor x, y;              // [R, C]; x learns
  Tensor totals;            // f32 [2], += loss sum, R
  Tensor row_losses;        // optional f32 [R], =
  float gradient_scale = 1; // of the loss sum
  bool accumulate = false;
  Tensor dx;                // optional [R, C], =, or += with accumulate
};

// --- rows.h: rows by index -------------------------------------------------------------------------------------------
// gather: y[i] = x[index[i]]. scatter: y[index[i]] = x[i], other rows of y stay; indices must differ.
struct RowsArgs {
  Columns x;
  Tensor index;  // i32
  Columns y;
};

// --- segment_mean.h: the mean of the rows of each sequence -----------------------------------------------------------
// y[s] = the mean of x's rows in segment s; of an empty segment 0.
struct SegmentMeanForwardArgs {
  Tensor x;                 // [N, C]
  Segments segments;
  Tensor y;                 // [S, C], =
};
// dx[n] = dy[s] / rows of s, for every row n of segment s; rows outside every segment stay.
struct SegmentMeanBackwardArgs {
  Tensor dy;                // [S, C]
  Segments segments;
  Tensor dx;                // [N, C], =
};

// --- sampling.h ------------------------------------------------------------------------------------------------------
// tokens[s] = a token drawn from softmax(logits[s] / temperature), cut to the top_k largest (0: all) and then to the
// smallest set of largest ones whose probabilities reach top_p (1: all), by the uniform number draws[s]. temperature 0:
// the largest logit, the lowest token among equals.
struct SampleArgs {
  Tensor logits;            // f32 [S, V]
  Tensor draws;             // f32 [S] in [0, 1); optional where temperature is 0
  float temperature = 0;
  int top_k = 0;
  float top_p = 1;
  Tensor tokens;            // i32 [S], =
};

// --- rank.h: how high a token stands among the logits of a row -------------------------------------------------------
// ranks[r] = 1 + how many of row r's logits are greater than that of tokens[r]: 1 is the top.
struct RankArgs {
  Tensor logits;            // f32 or bf16 [R, V]
  Tensor tokens;            // i32 [R]
  Tensor ranks;             // i32 [R], =
};

// --- elementwise.h ---------------------------------------------------------------------------------------------------
struct CopyArgs {
  Tensor x, y;              // y = x, cast to y's dtype
};
struct LerpArgs {
  Tensor x, y;              // f32, y += t (x - y)
  float t;
};
// y = residual + drop(x). Backward: the same of dy without a residual is dx, and dy that of the residual.
struct DropoutArgs {
  Tensor x;                 // [N, C]
  Tensor residual;          // optional f32 [N, C]
  Tensor y;                 // [N, C]; may be x or the residual
  Dropout dropout;
};

// --- optimizer.h: AdamW over many tensors in one pass ----------------------------------------------------------------
struct AdamWTensor {
  Tensor value, gradient, m, v;  // f32, of one shape
  float learning_rate_scale = 1;
  bool decays = false;
  bool keeps_gradient = false;   // leaves the gradient as it is, for one that is written next, not added to; no notes
  Tensor notes;                  // optional, of gradient, m and v; the results are the same with them
  Tensor rounded;                // optional, bf16, = value wherever value is written
};
// g = gradient * min(1, max_norm / norm); m, v, value updated with decoupled decay; gradient = 0. Nothing of this where
// norm_squared or loss is given and not finite: the step is then as if it had not been.
struct AdamWArgs {
  std::span<const AdamWTensor> tensors;
  float learning_rate, beta1, beta2, epsilon, weight_decay;
  int64_t step;                  // from 1: for the bias correction
  Tensor norm_squared;           // f32 [1] from sum_of_squares; optional where max_norm is 0
  Tensor loss;                   // optional, f32 [1]: the step's
  float max_norm = 0;            // 0: no clipping
};
struct SumOfSquaresArgs {
  std::span<const Tensor> tensors;  // f32
  Tensor result;                    // f32 [1], =; not finite where any element is not
};

class Ops {
 public:
  virtual ~Ops() = default;
  virtual Memory& memory() = 0;
  // A backend like this one, to be used on another thread at the same time, with one of `parts` parts of the memory for
  // its scratch; none where there can be only one: a device's, or one that watches others.
  virtual std::unique_ptr<Ops> another(int /*parts*/) { return nullptr; }
  // Runs `work`, a sequence of operations. What comes again with the same `shapes` (a number that differs where any
  // shape or address in it does) a device may capture and start as a whole; so it must neither copy to or from the host
  // nor depend on what it computes. Numbers among the arguments may differ each time.
  virtual void run_captured(uint64_t /*shapes*/, const std::function<void()>& work) { work(); }

  virtual void matmul(const MatmulArgs&) = 0;
  virtual size_t packed_bytes(int64_t k, int64_t n, DType compute) = 0;
  virtual void pack_matrix(const PackArgs&) = 0;
  virtual void activation_forward(const ActivationForwardArgs&) = 0;
  virtual void activation_backward(const ActivationBackwardArgs&) = 0;
  virtual void embedding_forward(const EmbeddingForwardArgs&) = 0;
  virtual void embedding_backward(const EmbeddingBackwardArgs&) = 0;
  virtual void layernorm_forward(const LayerNormForwardArgs&) = 0;
  virtual void layernorm_backward(const LayerNormBackwardArgs&) = 0;
  virtual void attention_forward(const AttentionForwardArgs&) = 0;
  virtual void attention_backward(const AttentionBackwardArgs&) = 0;
  virtual void cross_entropy(const CrossEntropyArgs&) = 0;
  virtual void soft_cross_entropy(const SoftCrossEntropyArgs&) = 0;
  virtual void cosine_loss(const CosineLossArgs&) = 0;
  virtual void gather_rows(const RowsArgs&) = 0;
  virtual void scatter_rows(const RowsArgs&) = 0;
  virtual void segment_mean_forward(const SegmentMeanForwardArgs&) = 0;
  virtual void segment_mean_backward(const SegmentMeanBackwardArgs&) = 0;
  virtual void sample(const SampleArgs&) = 0;
  virtual void rank(const RankArgs&) = 0;
  virtual void copy(const CopyArgs&) = 0;
  virtual void lerp(const LerpArgs&) = 0;
  virtual void dropout(const DropoutArgs&) = 0;
  virtual void adamw(const AdamWArgs&) = 0;
  virtual void sum_of_squares(const SumOfSquaresArgs&) = 0;
};

// The CPU backend with the best instruction set that this processor has (backend.cc).
std::unique_ptr<Ops> make_cpu_ops();

}  // namespace engine
