// The tensors among an operation's arguments, one after the other: what goes through every argument without knowing the
// operation uses this (check_ops.cc).
#pragma once

#include "kernels/ops.h"

namespace engine {

// input: read. output: written. both: read and written, or written in part.
enum class Role { input, output, both };

// each(name, tensor, role) for every tensor, the absent ones too. Of columns it is the whole matrix.
template <class Each>
void each_tensor(MatmulArgs& a, const Each& each) {
  each("a", a.a, Role::input);
  each("b", a.b, Role::input);
  each("c", a.c, a.accumulate ? Role::both : Role::output);
  each("bias", a.bias, Role::input);
  each("before_activation", a.before_activation, Role::output);
  each("gradient_at", a.gradient_at, Role::input);
  each("a_row_sums", a.a_row_sums, Role::both);
}
template <class Each>
void each_tensor(PackArgs& a, const Each& each) {
  each("b", a.b, Role::input);
  each("packed", a.packed, Role::output);
}
template <class Each>
void each_tensor(ActivationForwardArgs& a, const Each& each) {
  each("x", a.x, Role::input);
  each("y", a.y, Role::output);
}
template <class Each>
void each_tensor(ActivationBackwardArgs& a, const Each& each) {
  each("x", a.x, Role::input);
  each("dy", a.dy, Role::input);
  each("dx", a.dx, Role::output);
}
template <class Each>
void each_tensor(EmbeddingForwardArgs& a, const Each& each) {
  each("tokens", a.tokens, Role::input);
  each("positions", a.positions, Role::input);
  each("types", a.types, Role::input);
  each("token_table", a.token_table, Role::input);
  each("position_table", a.position_table, Role::input);
  each("type_table", a.type_table, Role::input);
  each("y", a.y, Role::output);
}
template <class Each>
void each_tensor(EmbeddingBackwardArgs& a, const Each& each) {
  each("tokens", a.tokens, Role::input);
  each("positions", a.positions, Role::input);
  each("types", a.types, Role::input);
  each("dy", a.dy, Role::input);
  each("dtoken_table", a.dtoken_table, Role::both);
  each("dposition_table", a.dposition_table, Role::both);
  each("dtype_table", a.dtype_table, Role::both);
  each("token_notes", a.token_notes, Role::both);
}
template <class Each>
void each_tensor(LayerNormForwardArgs& a, const Each& each) {
  each("x", a.x, Role::input);
  each("residual", a.residual, Role::input);
  each("gain", a.gain, Role::input);
  each("bias", a.bias, Role::input);
  each("sum", a.sum, Role::output);
  each("y", a.y, Role::output);
  each("mean", a.mean, Role::output);
  each("rstd", a.rstd, Role::output);
}
template <class Each>
void each_tensor(LayerNormBackwardArgs& a, const Each& each) {
  each("dy", a.dy, Role::input);
  each("sum", a.sum, Role::input);
  each("mean", a.mean, Role::input);
  each("rstd", a.rstd, Role::input);
  each("gain", a.gain, Role::input);
  each("dsum", a.dsum, a.accumulate ? Role::both : Role::output);
  each("dx", a.dx, Role::output);
  each("dgain", a.dgain, Role::both);
  each("dbias", a.dbias, Role::both);
}
template <class Each>
void each_tensor(Segments& segments, const char* begin, const char* end, const Each& each) {
  each(begin, segments.begin, Role::input);
  each(end, segments.end, Role::input);
}
template <class Each>
void each_tensor(AttentionForwardArgs& a, const Each& each) {
  each("q", a.q.matrix, Role::input);
  each("k", a.k.matrix, Role::input);
  each("v", a.v.matrix, Role::input);
  each_tensor(a.queries, "queries.begin", "queries.end", each);
  each_tensor(a.keys, "keys.begin", "keys.end", each);
  each("y", a.y, Role::both);  // rows outside every segment stay
  each("lse", a.lse, Role::both);
  each("relative.keys", a.relative.keys, Role::input);
  each("relative.values", a.relative.values, Role::input);
}
template <class Each>
void each_tensor(AttentionBackwardArgs& a, const Each& each) {
  each("q", a.q.matrix, Role::input);
  each("k", a.k.matrix, Role::input);
  each("v", a.v.matrix, Role::input);
  each_tensor(a.queries, "queries.begin", "queries.end", each);
  each_tensor(a.keys, "keys.begin", "keys.end", each);
  each("y", a.y, Role::input);
  each("dy", a.dy, Role::input);
  each("lse", a.lse, Role::input);
  each("dq", a.dq.matrix, Role::both);
  each("dk", a.dk.matrix, Role::both);
  each("dv", a.dv.matrix, Role::both);
  each("relative.keys", a.relative.keys, Role::input);
  each("relative.values", a.relative.values, Role::input);
  each("drelative_keys", a.drelative_keys, Role::both);
  each("drelative_values", a.drelative_values, Role::both);
}
template <class Each>
void each_tensor(CrossEntropyArgs& a, const Each& each) {
  each("x", a.x, Role::input);
  each("weight", a.weight, Role::input);
  each("bias", a.bias, Role::input);
  each("labels", a.labels, Role::input);
  each("row_weights", a.row_weights, Role::input);
  each("totals", a.totals, Role::both);
  each("row_losses", a.row_losses, Role::output);
  each("dx", a.dx, Role::output);
  each("dweight", a.dweight, Role::both);
  each("dbias", a.dbias, Role::both);
}
template <class Each>
void each_tensor(SoftCrossEntropyArgs& a, const Each& each) {
  each("logits", a.logits, Role::input);
  each("targets", a.targets, Role::input);
  each("totals", a.totals, Role::both);
  each("row_losses", a.row_losses, Role::output);
  each("dlogits", a.dlogits, Role::output);
}
template <class Each>
void each_tensor(CosineLossArgs& a, const Each& each) {
  each("x", a.x, Role::input);
  each("y", a.y, Role::input);
  each("totals", a.totals, Role::both);
  each("row_losses", a.row_losses, Role::output);
  each("dx", a.dx, a.accumulate ? Role::both : Role::output);
}
template <class Each>
void each_tensor(RowsArgs& a, const Each& each) {
  each("x", a.x.matrix, Role::input);
  each("index", a.index, Role::input);
  each("y", a.y.matrix, Role::both);
}
template <class Each>
void each_tensor(SegmentMeanForwardArgs& a, const Each& each) {
  each("x", a.x, Role::input);
  each_tensor(a.segments, "segments.begin", "segments.end", each);
  each("y", a.y, Role::output);
}
template <class Each>
void each_tensor(SegmentMeanBackwardArgs& a, const Each& each) {
  each("dy", a.dy, Role::input);
  each_tensor(a.segments, "segments.begin", "segments.end", each);
  each("dx", a.dx, Role::both);  // rows outside every segment stay
}
template <class Each>
void each_tensor(DropoutArgs& a, const Each& each) {
  each("x", a.x, Role::input);
  each("residual", a.residual, Role::input);
  each("y", a.y, Role::output);
}
template <class Each>
void each_tensor(SampleArgs& a, const Each& each) {
  each("logits", a.logits, Role::input);
  each("draws", a.draws, Role::input);
  each("tokens", a.tokens, Role::output);
}
template <class Each>
void each_tensor(RankArgs& a, const Each& each) {
  each("logits", a.logits, Role::input);
  each("tokens", a.tokens, Role::input);
  each("ranks", a.ranks, Role::output);
}
template <class Each>
void each_tensor(CopyArgs& a, const Each& each) {
  each("x", a.x, Role::input);
  each("y", a.y, Role::output);
}
template <class Each>
void each_tensor(LerpArgs& a, const Each& each) {
  each("x", a.x, Role::input);
  each("y", a.y, Role::both);
}
template <class Each>
void each_tensor(AdamWTensor& a, const Each& each) {
  each("value", a.value, Role::both);
  each("gradient", a.gradient, Role::both);
  each("m", a.m, Role::both);
  each("v", a.v, Role::both);
  each("notes", a.notes, Role::both);
  each("rounded", a.rounded, Role::both);
}

}  // namespace engine
