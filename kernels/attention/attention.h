// Attention. Each query of a segment reads the values of its key segment, weighed by a softmax. For one head, with
// Q [q, D], K and V [k, D] the rows of one sequence:
//
//   S = scale Q K^T                     a masked score is -infinity
//   P = exp(S - lse)                    lse_i = log sum_j exp(S_ij): the rows of P sum to 1
//   Y = (P * M) V                       M: the dropout's factors, 0 or 1 / (1 - rate)
//
// Forward never holds more of S than a tile: it goes over the keys with a running maximum m and sum l of each query
// (Milakov and Gimelshein 2018; Rabe and Staats 2021; Dao et al. 2022). A tile with maximum m' gives
//   n = max(m, m');  l = l e^(m-n) + sum_j e^(S_ij - n);  Y = Y e^(m-n) + sum_j e^(S_ij - n) M_ij V_j
// and at the end Y /= l, lse = m + log l.
//
// Backward. Let G = dL/d(P * M) = dY V^T.
//   dV = (P * M)^T dY
//   dP = G * M
//   dS_ij = P_ij (dP_ij - sum_l P_il dP_il), the softmax's derivative, and the sum is
//     sum_l P_il M_il (dY_i . V_l) = dY_i . Y_i = delta_i, which needs no row of P
//   dQ = scale dS K,  dK = scale dS^T Q
//
// Relative positions (Shaw, Uszkoreit and Vaswani 2018): with r the row of the distance from query i to key j (see
// AttentionSpan::place), and tables A and B,
//   S_ij = scale q_i . (k_j + A_r),  Y_i = sum_j P_ij M_ij (v_j + B_r)
// Neither sum costs D products a pair: q_i . A_r is one of R products of the query, and B adds the sum over r of B_r
// times the weights W_ir = sum_{j at r} P_ij M_ij. So with U_ir = sum_{j at r} dS_ij
//   G_ij = dY_i . (V_j + B_r); delta_i = dY_i . Y_i of the whole Y; dS as above; dV and dK as above
//   dQ_i = scale (sum_j dS_ij k_j + sum_r U_ir A_r);  dA_r += scale sum_i U_ir q_i;  dB_r += sum_i W_ir dY_i
//
// Saved by forward: y and lse. Backward recomputes P, tile by tile, as exp(S - lse).
// Written (=): y, lse; dq, dk and dv of every row inside a segment. Rows outside of all segments are not touched. Added
// to (+=): the gradients of relative tables; dk and dv where the argument says so, for keys that queries of several
// passes read.
//
// Numerics. Exponents are taken of S minus a maximum, so that no finite score overflows. A query that sees no key (an
// empty key segment, or a causal query before the first key) has y = 0, lse = -infinity and gradients 0. Where q, k and
// v are bf16, P and dS may be rounded to bf16 before they are multiplied; all sums are f32.
#pragma once

#include <algorithm>

#include "kernels/arguments.h"

namespace engine {

// Tables whose rows are added to k and to v by the distance from the query to the key, at most `distances` each way.
// Rows 0, 1, ... stand for -distances, 1 - distances, ...
struct RelativeTables {
  int64_t distances = 0;  // 0: no tables
  Tensor keys, values;    // f32 [R, D], R = 2 distances + 1, causal distances + 1; may be one table
};
// Lists the inputs that the arguments of forward and backward share.
template <class Args, class Each>
void each_attention_input(Args& a, const Each& each) {
  each("q", a.q.matrix, Role::input, a.q.share());
  each("k", a.k.matrix, Role::input, a.k.share());
  each("v", a.v.matrix, Role::input, a.v.share());
  a.queries.each_tensor("queries.begin", "queries.end", each);
  a.keys.each_tensor("keys.begin", "keys.end", each);
  each("relative.keys", a.relative.keys, Role::input);
  each("relative.values", a.relative.values, Role::input);
}
// Query sequence s attends to key sequence s. The causal mask is aligned to the end of the key segment, so query i of q
// sees the keys 0 ... i + (k - q) of k. Dropout acts on the probabilities. Its element is
// (((first_row + query row) H + head) << 16) + the key's index in its segment. A query that sees no key gives 0.
struct AttentionForwardArgs {
  Columns q;               // [N, H D]
  Columns k, v;            // [M, H D]
  int heads = 1;
  Segments queries, keys;  // over the rows of q, and of k and v
  bool causal = false;
  float scale = 1;
  Tensor y;                // [N, H D], =
  Tensor lse;              // optional f32 [N, H], = log-sum-exp of each query's scores; backward needs it
  Dropout dropout;
  RelativeTables relative;

  template <class Each>
  void each_tensor(const Each& each) {
    each_attention_input(*this, each);
    each("y", y, Role::both);  // rows outside every segment stay
    each("lse", lse, Role::both);
    each("dropout.counters", dropout.counters, Role::input);
  }
  DType product_dtype() const { return q.matrix.dtype; }
  double flops() const;
};
struct AttentionBackwardArgs {
  Columns q, k, v;
  int heads = 1;
  Segments queries, keys;
  bool causal = false;
  float scale = 1;
  Tensor y, dy, lse;
  Columns dq, dk, dv;                       // =, for every row inside a segment
  bool adds_to_keys = false;                // dk and dv, then f32, +=
  Dropout dropout;
  RelativeTables relative;
  Tensor drelative_keys, drelative_values;  // f32 as the tables, +=; one where these are one

  template <class Each>
  void each_tensor(const Each& each) {
    each_attention_input(*this, each);
    each("y", y, Role::input);
    each("dy", dy, Role::input);
    each("lse", lse, Role::input);
    each("dq", dq.matrix, Role::both, dq.share() / 2);  // these are written, not read
    each("dk", dk.matrix, Role::both, dk.share() / 2);
    each("dv", dv.matrix, Role::both, dv.share() / 2);
    each("drelative_keys", drelative_keys, Role::both);
    each("drelative_values", drelative_values, Role::both);
    each("dropout.counters", dropout.counters, Role::input);
  }
  DType product_dtype() const { return q.matrix.dtype; }
  double flops() const;
};

// The rows of one sequence's queries and keys.
struct AttentionSpan {
  int64_t query_begin, queries, key_begin, keys;

  // Returns how many keys, from the first, query i of the segment sees.
  int64_t visible(int64_t query, bool causal) const {
    return causal ? std::clamp(query + 1 + keys - queries, int64_t{0}, keys) : keys;
  }
  // Returns the key, counted from the first, at which query i of the segment stands: queries are aligned to the end of
  // the keys.
  int64_t place(int64_t query) const { return query + keys - queries; }
};

// Return how many rows relative tables have, and the row of a key as seen from a place. A causal query sees nothing
// behind it, so there are no rows for that.
inline int64_t relative_rows(int64_t distances, bool causal) { return (causal ? 1 : 2) * distances + 1; }
inline int64_t relative_row(int64_t distances, int64_t place, int64_t key) {
  return std::clamp(key - place, -distances, distances) + distances;
}

// Returns sequence s of the arguments, for backends on the host.
inline AttentionSpan span_of(const Segments& queries, const Segments& keys, int64_t s) {
  const int64_t query_begin = queries.begin.as<int32_t>()[s], key_begin = keys.begin.as<int32_t>()[s];
  return {query_begin, queries.end.as<int32_t>()[s] - query_begin, key_begin, keys.end.as<int32_t>()[s] - key_begin};
}

inline constexpr int64_t most_distances = 1 << 15;

// Returns the most rows in one segment.
int64_t longest_segment(const Segments& segments);

// Checks the arguments and returns D. Where a device holds the segments' values, the host does not look at them. The
// kernels check them, and `longest` has to be right.
enum class SegmentValues { on_host, on_device };
int64_t check_attention(const AttentionForwardArgs& args, SegmentValues segments = SegmentValues::on_host);
int64_t check_attention(const AttentionBackwardArgs& args, SegmentValues segments = SegmentValues::on_host);

}  // namespace engine
