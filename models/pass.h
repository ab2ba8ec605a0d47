// A Pass holds what one run of a model over a flat row of N tokens needs beside its inputs.
#pragma once

#include "core/arena.h"
#include "kernels/ops.h"
#include "models/decode_state.h"
#include "models/parameters.h"

namespace engine {

// A Run says what a pass runs on, and what it keeps.
struct Run {
  Ops& ops;
  Arena& arena;            // holds the activations; the caller opens and closes the scope
  DType compute;           // f32 or bf16, of products and of activations between operations; sums and the residual
                           // stream are f32 always
  bool recompute = false;  // save each block's input only, and recompute the rest backward
  bool keep = true;        // false: no backward pass follows
  Gradients* gradients = nullptr;  // those of the model; absent without a backward pass
  bool is_last = true;             // no pass behind it adds to the same gradients
  bool packed = false;             // its caller has packed the weights, backward ones too, for this and other passes
};

// A Layout says which rows of a flat row belong together, and the position of each.
struct Layout {
  Segments segments;        // the rows of each sequence
  Tensor positions;         // i32 [rows], position of each row in its sequence
  int64_t rows_before = 0;  // such rows of the step before this pass's, over micro-batches and ranks
  Tensor dropout_counters;  // optional, i32 [3]: the step and rows_before (Dropout::counters)
};

// Output rows are the rows whose hidden states are wanted. The last layer of BERT, its kin and BART's decoder then
// computes no others, but for their keys and values. Models may still return all rows.
struct OutputRows {
  Tensor index;   // i32 [R], ascending; absent: the hidden states of all rows
  Layout layout;  // layout of the R rows

  explicit operator bool() const { return static_cast<bool>(index); }
};

// The random numbers of dropout are a function of a training's seed, its step, the dropout's site and the row.
struct DropoutStream {
  bool is_active = false;  // in training
  uint64_t seed = 0;
  uint32_t step = 0;

  Dropout at(const DropoutSite& site, const Layout& rows) const {
    if (!is_active || site.rate == 0) return {};
    return {site.rate, seed, site.site, step, rows.rows_before, rows.dropout_counters};
  }
};

struct Pass;

// A StreamTap reads the residual stream at boundaries of blocks, and may add to it. Boundary l lies before block l, and
// the last one behind the last block. Boundary 0 is the first block's input. An encoder-decoder's boundaries are its
// decoder's.
class StreamTap {
 public:
  virtual ~StreamTap() = default;
  virtual bool is_at(int64_t boundary) const = 0;
  // x f32 [N, C] ([R, C] behind a last block of output rows) is the stream. The tap may add to it in place.
  virtual void forward(Pass& pass, int64_t boundary, const Tensor& x) = 0;
  // dx f32, shaped as x, is the gradient of the stream behind the tap. It becomes that of the stream before it.
  virtual void backward(Pass& pass, int64_t boundary, const Tensor& dx) = 0;
};

struct Pass : Run {
  Layout layout;        // layout of the N tokens
  Layout source;        // layout of the M tokens that an encoder reads, one sequence for each of the pass
  OutputRows outputs;
  DropoutStream stream;
  DecodeState* state = nullptr;  // of a decoder that continues sequences
  StreamTap* tap = nullptr;
  bool bidirectional = false;    // a decoder's tokens see those behind them, too

  explicit Pass(const Run& run, const Layout& layout_ = {}, const DropoutStream& stream_ = {})
      : Run(run), layout(layout_), stream(stream_) {}

  Dropout dropout(const DropoutSite& site) const { return stream.at(site, layout); }
  // Returns the same pass over other rows.
  Pass over(const Layout& rows) const {
    Pass result = *this;
    result.layout = rows;
    return result;
  }
  // Returns the same pass over output rows, or over all rows where there are none.
  Pass over(const OutputRows& rows) const { return rows ? over(rows.layout) : *this; }
  bool is_tapped(size_t boundary) const { return tap && tap->is_at(static_cast<int64_t>(boundary)); }
  // Says that this pass adds nothing more to the gradients of these parameters.
  void done(ParameterRange range) const {
    if (gradients && is_last) gradients->done(range);
  }
  // Says that this pass adds nothing more to the gradient of the head's projection but by lookups.
  void scored(const Parameter& projection) const {
    if (gradients && is_last) gradients->scored(projection);
  }
};

// These are the tokens that a pass runs over, i32 [N] each. pass.layout has their positions.
struct Tokens {
  Tensor ids;
  Tensor types;       // first or second text, optional; all 0 where a model wants them and they are absent
  Tensor source_ids;  // i32 [M], source of an encoder-decoder; absent for other models
};

// These are the f32 embeddings of a pass's tokens, or their gradients.
struct Embedded {
  Tensor x;       // [N, C], or [N, E] in a RemBERT, whose embeddings have a width of their own
  Tensor source;  // [M, C] of the source; absent for other models and where a cache holds its keys and values
};

}  // namespace engine
