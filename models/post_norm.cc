#include "models/blocks.h"

namespace engine {

namespace {

// Returns the first rows of a buffer, as many as there are output rows, or all of it without output rows.
Tensor rows_for(const OutputRows& outputs, const Tensor& buffer) {
  return outputs && buffer ? buffer.row_range(0, outputs.index.count()) : buffer;
}
PostNormBuffers rows_for(const OutputRows& outputs, const PostNormBuffers& all) {
  return {rows_for(outputs, all.attended), rows_for(outputs, all.crossed), rows_for(outputs, all.branch)};
}

}  // namespace

PostNormBlock::PostNormBlock(Parameters& table, const ModelConfig& config, const std::string& prefix, int layer,
                             bool decoder, Initial initial, const PostNormStyle& style) {
  const std::string name = prefix + "layers." + std::to_string(layer);
  const int64_t width = config.hidden_size;
  const int heads = static_cast<int>(config.num_heads);
  range.first = table.size();
  const auto norm = [&](const char* part, const char* branch, float rate) {
    return ResidualNorm(table, name + part, width, config.layer_norm_epsilon, table.add_dropout(name + branch, rate));
  };
  attention = SelfAttention(table, name + ".attention", width, heads, layer, /*causal=*/decoder,
                            config.attention_dropout, initial, initial);
  attention.relative = RelativePositions(table, name + ".attention.relative", style.relative, width / heads,
                                         /*causal=*/decoder, initial);
  norm1 = norm(".norm1", ".attention", style.attended_dropout < 0 ? config.dropout : style.attended_dropout);
  if (decoder) {
    cross_attention =
        CrossAttention(table, name + ".cross_attention", width, heads, layer, config.attention_dropout, initial);
    cross_norm = norm(".cross_norm", ".cross_attention", config.dropout);
  }
  feed_forward = FeedForward(table, name + ".feed_forward", width, config.inner_size(),
                             activation_named(config.activation), initial, initial);
  feed_forward.dropout = table.add_dropout(name + ".feed_forward.activation", style.activation_dropout);
  norm2 = norm(".norm2", ".feed_forward", config.dropout);
  range.last = table.size();
}

Tensor PostNormBlock::forward_inner(Pass& pass, const Tensor& x, const Tensor& entry, const PostNormBuffers& buffers,
                                    const SourceStates& source, Saved& saved) const {
  Pass own = pass.over(saved.outputs);
  const auto save = [&](const ResidualNorm& norm) {
    return pass.keep ? norm.make_saved(pass, entry.shape) : ResidualNorm::Saved{};
  };
  if (saved.outputs)
    CrossAttention(attention).forward(pass, entry, {x, pass.layout.segments, saved.outputs}, buffers.branch,
                                      saved.attention_of_outputs);
  else
    attention.forward(pass, x, buffers.branch, saved.attention);
  saved.norm1 = save(norm1);
  norm1.forward_into(own, buffers.branch, entry, buffers.attended, saved.norm1);
  if (cross_attention) {
    saved.cross_norm = save(cross_norm);
    cross_attention->forward(own, buffers.attended, source, buffers.branch, saved.cross_attention);
    cross_norm.forward_into(own, buffers.branch, buffers.attended, buffers.crossed, saved.cross_norm);
  }
  const Tensor& stream = cross_attention ? buffers.crossed : buffers.attended;
  feed_forward.forward(own, stream, buffers.branch, saved.feed_forward);
  return stream;
}

Tensor PostNormBlock::forward(Pass& pass, const Tensor& x, const PostNormBuffers& all, const SourceStates& source,
                              const OutputRows& outputs, Saved& saved) const {
  saved.outputs = outputs;
  Tensor entry = x;
  if (outputs) {
    entry = pass.arena.make(DType::f32, {outputs.index.count(), x.cols()});
    pass.ops.gather_rows({.x = x, .index = outputs.index, .y = entry});
  }
  saved.norm2 = pass.keep ? norm2.make_saved(pass, entry.shape) : ResidualNorm::Saved{};
  std::optional<ArenaScope> released;
  if (recomputes(pass, saved) || !pass.keep) released.emplace(pass.arena);
  const PostNormBuffers buffers = rows_for(outputs, all);
  const Tensor stream = forward_inner(pass, x, entry, buffers, source, saved);
  // Nothing reads the rows that came in any more, so y takes their memory.
  Pass own = pass.over(outputs);
  norm2.forward_into(own, buffers.branch, stream, entry, saved.norm2);
  return entry;
}

void PostNormBlock::backward(Pass& pass, const Tensor& dy, const Tensor& input, const Tensor& dx,
                             const PostNormGradients& gradients, const SourceStates& source, const Tensor& dsource,
                             bool accumulate, Saved& saved) const {
  const ArenaScope scope(pass.arena);
  const OutputRows& outputs = saved.outputs;
  Pass own = pass.over(outputs);
  const Shape shape = dy.shape;
  const auto make = [&](DType dtype) { return pass.arena.make(dtype, shape); };
  // These hold the stream behind attention and behind cross attention, as forward had them.
  const Tensor attended = make(pass.compute);
  const Tensor crossed = cross_attention ? make(pass.compute) : attended;
  const Tensor own_branch = is_branch_apart(own, norm2.dropout) ? make(pass.compute) : Tensor{};
  if (recomputes(pass, saved)) {
    // The stream is f32 as in the forward pass, so that the bits are the same.
    const PostNormBuffers buffers{make(DType::f32), cross_attention ? make(DType::f32) : Tensor{}, make(pass.compute)};
    forward_inner(pass, input, input, buffers, source, saved);
  }
  norm1.recompute(own, saved.norm1, attended);
  if (cross_attention) cross_norm.recompute(own, saved.cross_norm, crossed);

  const StreamGradient dnorm2{rows_for(outputs, gradients.norm2), own_branch};
  norm2.backward(own, dy, saved.norm2, dnorm2, /*accumulate=*/false);
  feed_forward.backward(own, dnorm2.branch(), crossed, saved.feed_forward, dnorm2.residual, /*accumulate=*/true);
  Tensor dattended = dnorm2.residual;
  if (cross_attention) {
    const StreamGradient dcross{rows_for(outputs, gradients.cross_norm), own_branch};
    cross_norm.backward(own, dnorm2.residual, saved.cross_norm, dcross, /*accumulate=*/false);
    cross_attention->backward(own, dcross.branch(), attended, source, saved.cross_attention, dcross.residual, dsource,
                              accumulate);
    dattended = dcross.residual;
  }
  const StreamGradient dentry{outputs ? make(DType::f32) : dx, own_branch};
  norm1.backward(own, dattended, saved.norm1, dentry, /*accumulate=*/false);
  if (outputs)
    backward_of_outputs(pass, dentry.branch(), input, dentry.residual, dnorm2.residual, dx, saved);
  else
    attention.backward(pass, dentry.branch(), input, saved.attention, dx, /*accumulate=*/true);
  pass.done(range);
}

void PostNormBlock::backward_of_outputs(Pass& pass, const Tensor& dbranch, const Tensor& input, const Tensor& drows,
                                        const Tensor& scratch, const Tensor& dx, const Saved& saved) const {
  const Tensor& index = saved.outputs.index;
  const Tensor rows = pass.arena.make(input.dtype, drows.shape);
  pass.ops.gather_rows({.x = input, .index = index, .y = rows});
  CrossAttention(attention).backward(pass, dbranch, rows, {input, pass.layout.segments, saved.outputs},
                                     saved.attention_of_outputs, drows, dx, /*accumulate=*/false);
  // The output rows have a gradient of their own beside the one that came through keys and values.
  pass.ops.gather_rows({.x = dx, .index = index, .y = scratch});
  pass.ops.dropout({.x = drows, .residual = scratch, .y = scratch});
  pass.ops.scatter_rows({.x = scratch, .index = index, .y = dx});
}

PostNormStack::PostNormStack(Parameters& table, const ModelConfig& config, const std::string& prefix, int64_t layers,
                             bool decoder, Initial initial, const PostNormStyle& style) {
  range.first = table.size();
  const int64_t width = style.embedding_size ? style.embedding_size : config.hidden_size;
  norm = ResidualNorm(table, prefix + "embedding.norm", width, config.layer_norm_epsilon, {});
  if (style.embedding_size) mapping = Linear(table, prefix + "embedding.mapping", width, config.hidden_size, initial);
  range.last = table.size();
  dropout = table.add_dropout(prefix + "embedding", config.dropout);
  for (int64_t layer = 0; layer < layers; ++layer)
    blocks.emplace_back(table, config, prefix, static_cast<int>(layer), decoder, initial, style);
  // With output rows its queries are of other rows than its keys and values.
  if (layers > 0) blocks.back().attention.qkv.weight->is_read_apart = true;
}

void PostNormStack::drop(Pass& pass, const Tensor& x) const {
  const Dropout drops = pass.dropout(dropout);
  if (drops.rate > 0) pass.ops.dropout({.x = x, .y = x, .dropout = drops});
}

void PostNormStack::enter(Pass& pass, const Tensor& embedded, const Tensor& x, Saved& saved) const {
  saved.normed = mapping ? pass.arena.make(DType::f32, embedded.shape) : Tensor{};
  const Tensor& normed = mapping ? saved.normed : x;
  norm.forward(pass, {}, embedded, normed, saved.norm);
  drop(pass, normed);
  if (mapping) mapping->forward(pass, normed, x);
}

void PostNormStack::enter_backward(Pass& pass, const Tensor& dx, const Tensor& dembedded, const Saved& saved) const {
  const Tensor dnormed = mapping ? pass.arena.make(DType::f32, dembedded.shape) : dx;
  if (mapping) mapping->backward(pass, dx, saved.normed, dnormed);
  drop(pass, dnormed);
  norm.backward(pass, dnormed, saved.norm, {dembedded, {}}, /*accumulate=*/false);
}

Tensor PostNormStack::forward(Pass& pass, const Tensor& embedded, Saved& saved, const SourceStates& source,
                              const OutputRows& outputs) const {
  const bool is_decoder = !blocks.empty() && blocks[0].cross_attention;
  const auto make = [&](DType dtype) { return pass.arena.make(dtype, stream_shape(embedded.shape)); };
  Tensor x = make(DType::f32);
  const PostNormBuffers buffers{pass.keep || mapping ? make(DType::f32) : embedded,
                                is_decoder ? make(DType::f32) : Tensor{}, make(pass.compute)};
  enter(pass, embedded, x, saved);
  saved.blocks.resize(blocks.size());
  saved.tapped.assign(blocks.size(), {});
  for (size_t i = 0; i < blocks.size(); ++i) {
    if (pass.is_tapped(i)) {
      pass.tap->forward(pass, static_cast<int64_t>(i), x);
      if (pass.keep) pass.ops.copy({.x = x, .y = saved.tapped[i] = make(DType::f32)});
    }
    const bool is_last = i + 1 == blocks.size();
    x = blocks[i].forward(pass, x, buffers, source, is_last ? outputs : OutputRows{}, saved.blocks[i]);
  }
  if (pass.is_tapped(blocks.size())) pass.tap->forward(pass, static_cast<int64_t>(blocks.size()), x);
  return x;
}

void PostNormStack::recompute_input(Pass& pass, size_t i, const Saved& saved, const Tensor& input) const {
  if (saved.tapped[i]) return pass.ops.copy({.x = saved.tapped[i], .y = input});
  if (i > 0) return blocks[i - 1].recompute_output(pass, saved.blocks[i - 1], input);
  if (mapping) return mapping->forward(pass, saved.normed, input);
  norm.recompute(pass, saved.norm, input);
  drop(pass, input);
}

Tensor PostNormStack::backward(Pass& pass, const Tensor& dhidden, Saved& saved, const SourceStates& source,
                               const Tensor& dsource) const {
  const Tensor dembedded = pass.arena.make(DType::f32, saved.norm.sum.shape);
  const Shape shape = stream_shape(dembedded.shape);
  const ArenaScope scope(pass.arena);
  const auto make = [&](DType dtype, const Shape& of) { return pass.arena.make(dtype, of); };
  const bool is_decoder = !blocks.empty() && blocks[0].cross_attention;
  const Tensor dx = make(DType::f32, shape);
  const PostNormGradients gradients{mapping ? make(DType::f32, shape) : dembedded,
                                    is_decoder ? make(DType::f32, shape) : Tensor{}};
  Tensor dy = dhidden;
  if (pass.is_tapped(blocks.size())) {
    dy = make(DType::f32, dhidden.shape);
    pass.ops.copy({.x = dhidden, .y = dy});
    pass.tap->backward(pass, static_cast<int64_t>(blocks.size()), dy);
  }
  Tensor input = make(pass.recompute ? DType::f32 : pass.compute, shape);
  for (size_t i = blocks.size(); i-- > 0;) {
    // Dropout multiplies, and in bf16 the backward pass would round twice what the forward pass rounded once. A product
    // may round its bias to bf16, too, where its result is bf16.
    const bool is_exact = i == 0 && (mapping || pass.dropout(dropout).rate > 0);
    if (is_exact && input.dtype != DType::f32) input = make(DType::f32, shape);
    recompute_input(pass, i, saved, input);
    const bool is_last = i + 1 == blocks.size();
    blocks[i].backward(pass, is_last ? dy : dx, input, dx, gradients, source, dsource, /*accumulate=*/!is_last,
                       saved.blocks[i]);
    if (pass.is_tapped(i)) pass.tap->backward(pass, static_cast<int64_t>(i), dx);
  }
  enter_backward(pass, dx, dembedded, saved);
  pass.done(range);
  return dembedded;
}

}  // namespace engine
