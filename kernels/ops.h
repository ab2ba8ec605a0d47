// All operations. A backend implements Ops, and models are written in nothing else. Each family's header has the
// arguments of its operations, their formulas, derivations and numerics.
//
// Letters: N tokens in the batch, S sequences, C width, H heads, D head width (C = H D), F feed-forward width,
// V vocabulary, R scored rows.
//
// Conventions, unless an operation says otherwise:
// - Activations x, y, dx, dy are f32 or bf16. Parameters, their gradients, statistics (mean, rstd, lse) and sums are
//   f32. Indices are i32. Arguments named "optional" may be left out (Tensor{}).
// - "=" overwrites, "+=" adds to what is there. Parameter gradients are always +=.
// - Sums are taken in f32, and every operation gives the same bits for the same inputs at any number of threads.
// - Shapes and dtypes are checked. An Error names the operation and the argument that does not fit.
#pragma once

#include <functional>
#include <memory>

#include "core/memory.h"
#include "kernels/attention/attention.h"
#include "kernels/attention/rotary.h"
#include "kernels/elementwise/activation.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/losses/cosine_loss.h"
#include "kernels/losses/cross_entropy.h"
#include "kernels/losses/segment_cross_entropy.h"
#include "kernels/losses/segment_soft_cross_entropy.h"
#include "kernels/losses/soft_cross_entropy.h"
#include "kernels/losses/span_mask_loss.h"
#include "kernels/lstm/lstm.h"
#include "kernels/matmul/matmul.h"
#include "kernels/norm/layernorm.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/rows/column_chain.h"
#include "kernels/rows/embedding.h"
#include "kernels/rows/rows.h"
#include "kernels/rows/scaled_rows.h"
#include "kernels/rows/segment_mean.h"
#include "kernels/sampling/rank.h"
#include "kernels/sampling/sampling.h"

namespace engine {

// The table of operations. One row has an operation's name, its arguments and what it computes. The methods of Ops, of
// the backends and of the wrappers around backends (observe/) come from this table, and so do the names in traces.
#define ENGINE_OPERATIONS(row)                                                                                       \
  row(matmul, MatmulArgs)                           /* c = act(op(a) op(b) + bias), and its backward forms */        \
  row(pack_matrix, PackArgs)                        /* op(b) in the layout that matmul reads fastest */              \
  row(activation_forward, ActivationForwardArgs)    /* y = act(x) */                                                 \
  row(activation_backward, ActivationBackwardArgs)  /* dx = dy act'(x) */                                            \
  row(embedding_forward, EmbeddingForwardArgs)      /* y = the sum of token, position and type rows */               \
  row(embedding_backward, EmbeddingBackwardArgs)    /* adds dy to the gradients of the rows */                       \
  row(layernorm_forward, LayerNormForwardArgs)      /* y = LN(residual + drop(x)) */                                 \
  row(layernorm_backward, LayerNormBackwardArgs)    /* the gradients of x, residual, gain and bias */                \
  row(attention_forward, AttentionForwardArgs)      /* y = softmax(scale q k^T) v */                                 \
  row(attention_backward, AttentionBackwardArgs)    /* the gradients of q, k, v and relative tables */               \
  row(rotary, RotaryArgs)                           /* turns q and k, or their gradients, by positions */             \
  row(lstm_forward, LstmForwardArgs)                /* h and c of every row from the gates' sums */                 \
  row(lstm_backward, LstmBackwardArgs)              /* the gradient of those sums, and of the first h and c */        \
  row(cross_entropy, CrossEntropyArgs)              /* projection on the vocabulary and loss, with gradients */      \
  row(soft_cross_entropy, SoftCrossEntropyArgs)     /* loss of a student's logits against a teacher's */             \
  row(segment_cross_entropy, SegmentCrossEntropyArgs) /* loss of which row of each sequence is meant */            \
  row(segment_soft_cross_entropy, SegmentSoftCrossEntropyArgs) /* the same against a teacher's logits */             \
  row(span_mask_loss, SpanMaskLossArgs)             /* loss of which rows an answer covers */                        \
  row(chain_columns_forward, ChainColumnsForwardArgs)   /* one column of a matrix += w times another */              \
  row(chain_columns_backward, ChainColumnsBackwardArgs) /* the gradients of the columns and of w */                  \
  row(cosine_loss, CosineLossArgs)                  /* loss of the angle between two matrices' rows */               \
  row(gather_rows, RowsArgs)                        /* y[i] = x[index[i]] */                                         \
  row(scatter_rows, RowsArgs)                       /* y[index[i]] = x[i] */                                         \
  row(add_scaled_rows, AddScaledRowsArgs)           /* y[b[i]] += s x[a[i]], s made of a weight by a gate */         \
  row(row_scale_backward, RowScaleBackwardArgs)     /* the gradient of the weights */                                \
  row(segment_mean_forward, SegmentMeanForwardArgs) /* y[s] = the mean of the rows of sequence s */                  \
  row(sample, SampleArgs)                           /* tokens drawn from logits */                                   \
  row(rank, RankArgs)                               /* ranks of given tokens among logits */                         \
  row(copy, CopyArgs)                               /* y = x, cast */                                                \
  row(lerp, LerpArgs)                               /* y += t (x - y) */                                             \
  row(dropout, DropoutArgs)                         /* y = residual + drop(x) */                                     \
  row(adamw, AdamWArgs)                             /* an optimizer step of many tensors */                          \
  row(sum_of_squares, SumOfSquaresArgs)             /* over many tensors */                                          \
  row(clip_norms, ClipNormsArgs)                    /* scales long ones of many tensors down, sum of squares */

class Ops {
 public:
  virtual ~Ops() = default;
  virtual Memory& memory() = 0;
  // Makes a backend like this one, to be used on another thread at the same time, with one of `parts` parts of the
  // memory for its scratch. Null where there can be only one: a device's, or one that watches others.
  virtual std::unique_ptr<Ops> another(int /*parts*/) { return nullptr; }
  // Runs `work`, a sequence of operations. A device may capture work and start it as a whole when the same `shapes` (a
  // number that differs where any shape or address in it does) come a second time. So work must neither copy to or from
  // the host nor depend on what it computes. Numbers among the arguments may differ each time.
  virtual void run_captured(uint64_t /*shapes*/, const std::function<void()>& work) { work(); }
  // How many bytes pack_matrix needs for a matrix op(b) [k, n].
  virtual size_t packed_bytes(int64_t k, int64_t n, DType compute) = 0;
  // Whether products read a matrix beside its packed copy.
  virtual bool reads_unpacked() const { return false; }

#define ENGINE_DECLARE(name, Args) virtual void name(const Args&) = 0;
  ENGINE_OPERATIONS(ENGINE_DECLARE)
#undef ENGINE_DECLARE
};

// Declares an operation's method in a backend's class: ENGINE_OPERATIONS(ENGINE_OVERRIDE).
#define ENGINE_OVERRIDE(name, Args) void name(const Args&) override;

// Makes the CPU backend with the best instruction set that this processor has (backend.cc).
std::unique_ptr<Ops> make_cpu_ops();

}  // namespace engine
