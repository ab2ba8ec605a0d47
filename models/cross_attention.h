// Attention of one text's rows (queries) to another's (keys and values): a decoder's rows to what the encoder made of the
// source. With the weights of a self attention it is attention of some rows of a text to all of it.
//
// In a self attention that is causal or has relative tables a query has a place among the keys, by which the operation
// knows it. Such queries are put among rows of zeros at their places, and the operation's results are taken from there.
// Their projections are of the R rows all the same.
#pragma once

#include "models/layers.h"

namespace engine {

// The other text of a pass: sequence s of the pass attends to segment s.
struct SourceStates {
  Tensor states;       // [M, C]; absent where a cache holds the keys and values of all
  Segments segments;   // of the M rows
  OutputRows queries;  // the queries are these of the M rows; absent where they are another text
};

struct CrossAttention {
  struct Saved {
    Tensor q;              // [N, C], or [M, C] where queries have places
    Tensor kv;             // [M, 2C], k | v
    Tensor mixed;          // as q: the heads' outputs side by side
    Tensor mixed_queries;  // [N, C], its rows of the queries
    Tensor lse;            // f32 [N, H], or [M, H]
  };
  Linear q, kv, output;
  int heads = 1;
  int layer = 0;  // its place in the key/value cache
  DropoutSite dropout;
  bool causal = false;         // this and the next are those of a self attention
  RelativePositions relative;

  CrossAttention() = default;
  CrossAttention(Parameters& table, const std::string& name, int64_t width, int heads_, int layer_,
                 float attention_dropout, Initial initial);
  // The same weights, for some of a text's rows as queries (SourceStates::queries) and all of them as the source.
  explicit CrossAttention(const SelfAttention& self);

  // x, y [N, C] are of the pass's N tokens or of the queries that the source names. With a decoding state new sources'
  // keys and values go there, and the queries read it.
  void forward(Pass& pass, const Tensor& x, const SourceStates& source, const Tensor& y, Saved& saved) const;
  // dx f32 [N, C] +=; dsource f32 [M, C] =, or += where accumulated.
  void backward(Pass& pass, const Tensor& dy, const Tensor& x, const SourceStates& source, const Saved& saved,
                const Tensor& dx, const Tensor& dsource, bool accumulate) const;

 private:
  bool has_places() const { return causal || relative.distances > 0; }
  // The pass over the rows that are the operation's queries.
  Pass pass_of_queries(const Pass& pass, const SourceStates& source) const;
  // Puts the queries' rows [N, C] among rows of zeros, [M, C], and takes them out. Where queries have no places both are
  // the same rows.
  Tensor put(Pass& pass, const Tensor& rows, const SourceStates& source) const;
  Tensor take(Pass& pass, const Tensor& all, const SourceStates& source) const;
};

}  // namespace engine
