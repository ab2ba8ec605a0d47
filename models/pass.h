// Pass: what one run of a model over a flat row of N tokens is given beside its inputs.
#pragma once

#include "core/arena.h"
#include "kernels/ops.h"
#include "models/decode_state.h"
#include "models/parameters.h"

namespace engine {

// What a pass runs on, and what it keeps.
struct Run {
  Ops& ops;
  Arena& arena;            // activations are made here; the caller opens and closes the scope
  DType compute;           // f32 or bf16, of products and of activations between operations; sums and the residual
                           // stream are f32 always
  bool recompute = false;  // save only what each block was given, and run it again in the backward pass
  bool keep = true;        // false: no backward pass follows, and nothing is kept for one
  Gradients* gradients = nullptr;  // those of the model that is run; absent where there is no backward pass
};

// Which rows of a flat row belong together, and the place of each.
struct Layout {
  Segments segments;        // the rows of each sequence
  Tensor positions;         // i32 [rows], place of each row in its sequence
  int64_t rows_before = 0;  // rows of this kind in the step before this pass's, over micro-batches and ranks
};

// The rows whose hidden states are wanted. The last layer of BERT, DistilBERT and BART's decoder then computes no others,
// but for their keys and values. Models may still give all.
struct OutputRows {
  Tensor index;   // i32 [R], ascending; absent: the hidden states of all rows
  Layout layout;  // of the R rows

  explicit operator bool() const { return static_cast<bool>(index); }
};

// The random numbers that dropout draws: a function of a training's seed, its step, the dropout's site and the row.
struct DropoutStream {
  bool is_active = false;  // in training
  uint64_t seed = 0;
  uint32_t step = 0;

  Dropout at(const DropoutSite& site, int64_t rows_before) const {
    if (!is_active || site.rate == 0) return {};
    return {site.rate, seed, site.site, step, rows_before};
  }
};

struct Pass;

// Reads the residual stream at boundaries of blocks, and may add to it. Boundary l lies before block l (0: what the first
// block reads), the last one behind the last block. Of an encoder-decoder these are the decoder's.
class StreamTap {
 public:
  virtual ~StreamTap() = default;
  virtual bool is_at(int64_t boundary) const = 0;
  // x f32 [N, C] ([R, C] behind a last block of output rows) is the stream; what is added to it goes on.
  virtual void forward(Pass& pass, int64_t boundary, const Tensor& x) = 0;
  // dx f32, shaped as x, is the gradient of the stream behind the tap. It becomes that of the stream before it.
  virtual void backward(Pass& pass, int64_t boundary, const Tensor& dx) = 0;
};

struct Pass : Run {
  Layout layout;        // of the N tokens
  Layout source;        // of the M tokens that an encoder reads, a sequence for each of the pass
  OutputRows outputs;
  DropoutStream stream;
  DecodeState* state = nullptr;  // of a decoder that continues sequences
  StreamTap* tap = nullptr;

  explicit Pass(const Run& run, const Layout& layout_ = {}, const DropoutStream& stream_ = {})
      : Run(run), layout(layout_), stream(stream_) {}

  Dropout dropout(const DropoutSite& site) const { return stream.at(site, layout.rows_before); }
  // The same pass over other rows.
  Pass over(const Layout& rows) const {
    Pass result = *this;
    result.layout = rows;
    return result;
  }
  Pass over_outputs() const { return outputs ? over(outputs.layout) : *this; }
  // Nothing more is added to the gradients of these parameters in this pass.
  void done(ParameterRange range) const {
    if (gradients) gradients->done(range);
  }
};

// The tokens that a pass runs over: i32 [N] each. pass.layout has their positions.
struct Tokens {
  Tensor ids;
  Tensor types;       // optional: which of two texts; all 0 where a model wants them and they are left out
  Tensor source_ids;  // i32 [M], what the encoder of an encoder-decoder reads; absent for other models
};

// The embeddings of a pass's tokens, f32, or their gradients.
struct Embedded {
  Tensor x;       // [N, C]
  Tensor source;  // [M, C], an encoder's; absent for other models and where a cache holds what it gave
};

}  // namespace engine
