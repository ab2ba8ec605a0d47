// Attention of one text's rows (queries) to another's (keys and values): a decoder's to what the encoder made of the
// source.
#pragma once

#include "models/layers.h"

namespace engine {

// The other text of a pass: sequence s of the pass attends to segment s.
struct SourceStates {
  Tensor states;      // [M, C]; absent where a cache holds the keys and values of all
  Segments segments;  // of the M rows
};

struct CrossAttention {
  struct Saved {
    Tensor q;      // [N, C]
    Tensor kv;     // [M, 2C], k | v
    Tensor mixed;  // [N, C], the heads' outputs side by side
    Tensor lse;    // f32 [N, H]
  };
  Linear q, kv, output;
  int heads = 1;
  int layer = 0;  // of the key/value cache
  DropoutLayer dropout;

  CrossAttention() = default;
  CrossAttention(Parameters& table, const std::string& name, int64_t width, int heads_, int layer_,
                 float attention_dropout, Initial initial);
  // The same weights, for some of a text's rows as queries and all of them as the source.
  explicit CrossAttention(const SelfAttention& self);

  // x, y [N, C]. With a cache new sources' keys and values go there, and the queries read it.
  void forward(Pass& pass, const Tensor& x, const SourceStates& source, const Tensor& y, Saved& saved) const;
  // dx f32 [N, C] +=; dsource f32 [M, C] =, or += where accumulated.
  void backward(Pass& pass, const Tensor& dy, const Tensor& x, const SourceStates& source, const Saved& saved,
                const Tensor& dx, const Tensor& dsource, bool accumulate) const;
};

}  // namespace engine
