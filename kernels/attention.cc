#include "kernels/attention.h"

namespace engine {

int64_t check_attention(const char* name, const Columns& q, const Columns& k, const Columns& v, int heads,
                        const Segments& queries, const Segments& keys, const Tensor& y, const Dropout& dropout) {
  require(heads > 0 && q.width % heads == 0, name, ": ", q.width, " columns of q for ", heads, " heads");
  require(k.width == q.width && v.width == q.width, name, ": q has ", q.width, " columns, k ", k.width, ", v ", v.width);
  require(k.matrix.rows() == v.matrix.rows(), name, ": k has ", k.matrix.rows(), " rows, v ", v.matrix.rows());
  for (const Columns* part : {&q, &k, &v}) {
    require(part->matrix.dtype == DType::f32 || part->matrix.dtype == DType::bf16, name, ": q, k and v are f32 or bf16, not ",
            name_of(part->matrix.dtype));
    require(part->begin >= 0 && part->begin + part->width <= part->matrix.cols(), name, ": columns ", part->begin, " to ",
            part->begin + part->width, " of a matrix ", part->matrix.shape.text());
  }
  require(y.rows() == q.matrix.rows() && y.cols() == q.width, name, ": y is ", y.shape.text(), ", q has ", q.matrix.rows(),
          " rows of ", q.width);
  require(queries.end.count() == queries.count() && keys.count() == queries.count() && keys.end.count() == queries.count(),
          name, ": ", queries.count(), " query segments, ", keys.count(), " key segments");
  const int64_t width = q.width / heads;
  require(width <= 128, name, ": heads of ", width, ", at most 128");
  for (int64_t s = 0; s < queries.count(); ++s) {
    const AttentionSpan span = span_of(queries, keys, s);
    require(span.queries >= 0 && span.query_begin >= 0 && span.query_begin + span.queries <= q.matrix.rows(), name,
            ": sequence ", s, " has the query rows ", span.query_begin, " to ", span.query_begin + span.queries, " of ",
            q.matrix.rows());
    require(span.keys >= 0 && span.key_begin >= 0 && span.key_begin + span.keys <= k.matrix.rows(), name, ": sequence ", s,
            " has the key rows ", span.key_begin, " to ", span.key_begin + span.keys, " of ", k.matrix.rows());
    require(dropout.rate == 0 || span.keys <= 65536, name, ": sequence ", s, " has ", span.keys,
            " keys, dropout counts at most 65536");
  }
  return width;
}

}  // namespace engine
