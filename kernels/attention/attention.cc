#include "kernels/attention/attention.h"

#include "kernels/checks.h"

namespace engine {
namespace {

void check_segments(const char* name, const char* part, const Segments& segments, int64_t sequences, int64_t rows,
                    SegmentValues values) {
  check_vector(name, part, segments.begin, DType::i32, sequences);
  check_vector(name, part, segments.end, DType::i32, sequences);
  if (values == SegmentValues::on_device) return;
  for (int64_t s = 0; s < sequences; ++s) {
    const int64_t begin = segments.begin.as<int32_t>()[s], end = segments.end.as<int32_t>()[s];
    require(0 <= begin && begin <= end && end <= rows, name, ": ", part, ": sequence ", s, " has the rows ", begin,
            " to ", end, " of ", rows);
  }
}

// Checks the arguments that forward and backward share. Returns D.
template <class Args>
int64_t check_common(const char* name, const Args& a, SegmentValues values) {
  require(a.heads > 0 && a.q.width % a.heads == 0, name, ": q has ", a.q.width, " columns for ", a.heads, " heads");
  const int64_t queries = a.q.matrix.rows(), keys = a.k.matrix.rows(), width = a.q.width / a.heads;
  require(width <= 128, name, ": heads are ", width, " wide, at most 128");
  check_columns(name, "q", a.q, queries, a.q.width);
  check_columns(name, "k", a.k, keys, a.q.width);
  check_columns(name, "v", a.v, keys, a.q.width);
  check_activation(name, "y", a.y, queries, a.q.width);
  check_segments(name, "queries", a.queries, a.queries.count(), queries, values);
  check_segments(name, "keys", a.keys, a.queries.count(), keys, values);
  const int64_t longest = values == SegmentValues::on_host ? longest_segment(a.keys) : a.keys.longest;
  require(a.dropout.rate == 0 || longest <= 65536, name, ": a sequence has ", longest,
          " keys, dropout counts at most 65536");
  const int64_t distances = a.relative.distances, rows = relative_rows(distances, a.causal);
  require(distances >= 0 && distances <= most_distances, name, ": relative tables for ", distances,
          " distances, at most ", most_distances);
  if (distances) {
    check_matrix(name, "relative.keys", a.relative.keys, DType::f32, rows, width);
    check_matrix(name, "relative.values", a.relative.values, DType::f32, rows, width);
  }
  return width;
}

// Counts the pairs of a query and a key that it sees.
template <class Args>
double seen_pairs(const Args& a) {
  double pairs = 0;
  for (int64_t s = 0; s < a.queries.count(); ++s) {
    const AttentionSpan span = span_of(a.queries, a.keys, s);
    const double queries = static_cast<double>(span.queries), keys = static_cast<double>(span.keys);
    // Query i sees i + 1 + keys - queries keys, or none. The first query that sees any sees `first` of them.
    const double first = std::max(1.0, 1 + keys - queries), seeing = std::min(queries, keys);
    pairs += a.causal ? seeing * (first + keys) / 2 : queries * keys;
  }
  return pairs;
}

// Counts the FLOPs of a product of the queries with all rows of a relative table.
template <class Args>
double relative_product(const Args& a) {
  return a.relative.distances ? 2.0 * static_cast<double>(a.q.matrix.rows() * a.q.width * a.relative.keys.rows()) : 0;
}

}  // namespace

int64_t longest_segment(const Segments& segments) {
  int64_t longest = 0;
  for (int64_t s = 0; s < segments.count(); ++s)
    longest = std::max<int64_t>(longest, segments.end.as<int32_t>()[s] - segments.begin.as<int32_t>()[s]);
  return longest;
}

double AttentionForwardArgs::flops() const {
  return 4.0 * static_cast<double>(q.width) * seen_pairs(*this) + 2 * relative_product(*this);
}
double AttentionBackwardArgs::flops() const {
  return 10.0 * static_cast<double>(q.width) * seen_pairs(*this) + 5 * relative_product(*this);
}

int64_t check_attention(const AttentionForwardArgs& a, SegmentValues segments) {
  const int64_t width = check_common("attention_forward", a, segments);
  if (a.lse) check_matrix("attention_forward", "lse", a.lse, DType::f32, a.q.matrix.rows(), a.heads);
  return width;
}

int64_t check_attention(const AttentionBackwardArgs& a, SegmentValues segments) {
  const char* name = "attention_backward";
  const int64_t width = check_common(name, a, segments);
  check_activation(name, "dy", a.dy, a.q.matrix.rows(), a.q.width);
  check_matrix(name, "lse", a.lse, DType::f32, a.q.matrix.rows(), a.heads);
  check_columns(name, "dq", a.dq, a.q.matrix.rows(), a.q.width);
  check_columns(name, "dk", a.dk, a.k.matrix.rows(), a.q.width);
  check_columns(name, "dv", a.dv, a.k.matrix.rows(), a.q.width);
  require(!a.adds_to_keys || (a.dk.matrix.dtype == DType::f32 && a.dv.matrix.dtype == DType::f32), name,
          ": dk and dv are added to, so they have to be f32");
  if (a.relative.distances) {
    const int64_t rows = a.relative.keys.rows();
    check_matrix(name, "drelative_keys", a.drelative_keys, DType::f32, rows, width);
    check_matrix(name, "drelative_values", a.drelative_values, DType::f32, rows, width);
  }
  return width;
}

}  // namespace engine
