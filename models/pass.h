// Pass: what one run of a model over a flat row of N tokens is given beside its inputs.
#pragma once

#include <vector>

#include "core/arena.h"
#include "kernels/ops.h"
#include "models/parameters.h"

namespace engine {

// Keys and values of tokens already seen, for generation. Each sequence has a slot: `capacity` rows of every layer's
// k and v. Before a pass the caller says where its new tokens go and what each sequence may attend to.
struct KeyValueCache {
  std::vector<Tensor> k, v;  // a layer: [slots * capacity, C]
  Tensor rows;               // i32 [N]: the row that each token of the pass is written to
  Segments keys;             // of every sequence of the pass, its new tokens included

  // Of encoder-decoders, the same of the sources, which are read once: a layer's k | v [rows, 2C], the row that each
  // source token of the pass is written to, and the source of every sequence of the pass.
  std::vector<Tensor> source_kv;
  Tensor source_rows;
  Segments source_keys;
};

// The rows whose hidden states are asked for: the last layer of encoders and of BART's decoder then computes no others,
// but for their keys and values. Models may still give all.
struct AskedRows {
  Tensor index;           // i32 [R], ascending; absent: nothing was said, all are given
  Segments segments;      // of the R rows: which are those of each sequence
  int64_t first_row = 0;  // as Pass::first_row, of such rows

  explicit operator bool() const { return static_cast<bool>(index); }
};

struct Pass {
  Ops& ops;
  Arena& arena;             // activations are made here; the caller opens and closes the scope
  DType compute;            // f32 or bf16, of products and of activations between operations; sums and the residual
                            // stream are f32 always
  Segments segments;        // of the N tokens
  bool recompute = false;   // save only what each block was given, and run it again in the backward pass
  bool keep = true;         // false: no backward pass follows, and nothing is kept for one
  // Dropout: on in training. first_row counts the step's tokens before this pass, over micro-batches and ranks.
  bool training = false;
  uint64_t seed = 0;
  uint32_t step = 0;
  uint32_t run = 0;         // which of a model's runs in one step
  int64_t first_row = 0;
  int64_t first_sequence = 0;  // as first_row, of sequences: for what has a row a sequence
  int64_t first_source_row = 0;  // as first_row, of the sources' tokens
  KeyValueCache* cache = nullptr;

  Dropout dropout(const DropoutLayer& layer) const {
    if (!training || layer.rate == 0) return {};
    return {layer.rate, seed, layer.site + run * 65536u, step, first_row};
  }
  // The pass as it is for rows that are asked for; itself where none are.
  Pass of(const AskedRows& asked) const {
    Pass result = *this;
    if (!asked) return result;
    result.segments = asked.segments;
    result.first_row = asked.first_row;
    return result;
  }
};

// The tokens that a pass runs over: i32 [N] each.
struct Tokens {
  Tensor ids;
  Tensor positions;
  Tensor types;  // optional: which of two texts; all 0 where a model wants them and they are left out
  AskedRows asked;

  // What the encoder of an encoder-decoder reads, a sequence for each of the pass: i32 [M] each. Absent for others.
  struct Source {
    Tensor ids, positions;
    Segments segments;
  } source;
};

}  // namespace engine
