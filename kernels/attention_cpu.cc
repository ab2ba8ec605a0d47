#include "kernels/attention_ref.h"
#include "kernels/cpu_ops.h"

namespace engine::ENGINE_ISA {
namespace {

std::vector<double> values(const Columns& part) {
  std::vector<double> result;
  for (int64_t r = 0; r < part.matrix.rows(); ++r)
    for (int64_t c = part.begin; c < part.begin + part.width; ++c) {
      const int64_t i = r * part.matrix.cols() + c;
      result.push_back(part.matrix.dtype == DType::f32 ? static_cast<double>(part.matrix.as<float>()[i])
                                                       : static_cast<double>(static_cast<float>(part.matrix.as<bf16>()[i])));
    }
  return result;
}

void write(const Columns& part, const std::vector<double>& from, int64_t begin, int64_t end) {
  for (int64_t r = begin; r < end; ++r)
    for (int64_t c = 0; c < part.width; ++c) {
      const int64_t i = r * part.matrix.cols() + part.begin + c;
      const float value = static_cast<float>(from[static_cast<size_t>(r * part.width + c)]);
      if (part.matrix.dtype == DType::f32) part.matrix.as<float>()[i] = value;
      else part.matrix.as<bf16>()[i] = bf16(value);
    }
}

template <class Args>
AttentionReference reference(const Args& a, int64_t width) {
  AttentionReference result{a.heads, width, {}, a.causal, static_cast<double>(a.scale), a.dropout};
  for (int64_t s = 0; s < a.queries.count(); ++s) result.spans.push_back(span_of(a.queries, a.keys, s));
  return result;
}

}  // namespace

void CpuOps::attention_forward(const AttentionForwardArgs& a) {
  const int64_t width =
      check_attention("attention_forward", a.q, a.k, a.v, a.heads, a.queries, a.keys, a.y, a.dropout);
  const AttentionReference of = reference(a, width);
  std::vector<double> y(static_cast<size_t>(a.y.count())), lse(static_cast<size_t>(a.y.rows() * a.heads));
  of.forward(values(a.q).data(), values(a.k).data(), values(a.v).data(), y.data(), lse.data());
  for (const AttentionSpan& span : of.spans) {
    write(a.y, y, span.query_begin, span.query_begin + span.queries);
    if (a.lse) write(a.lse, lse, span.query_begin, span.query_begin + span.queries);
  }
}

void CpuOps::attention_backward(const AttentionBackwardArgs& a) {
  const int64_t width =
      check_attention("attention_backward", a.q, a.k, a.v, a.heads, a.queries, a.keys, a.y, a.dropout);
  const AttentionReference of = reference(a, width);
  const std::vector<double> q = values(a.q), k = values(a.k), v = values(a.v), dy = values(a.dy);
  std::vector<double> dq(q.size()), dk(k.size()), dv(v.size());
  of.backward(q.data(), k.data(), v.data(), dy.data(), dq.data(), dk.data(), dv.data());
  for (const AttentionSpan& span : of.spans) {
    write(a.dq, dq, span.query_begin, span.query_begin + span.queries);
    write(a.dk, dk, span.key_begin, span.key_begin + span.keys);
    write(a.dv, dv, span.key_begin, span.key_begin + span.keys);
  }
}

}  // namespace engine::ENGINE_ISA
