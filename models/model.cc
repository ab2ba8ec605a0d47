#include "models/model.h"

#include "models/architectures.h"

namespace engine {

const Head& Model::head() const {
  if (!head_.projection) fail("the model has no head: neither for masked tokens nor for classes");
  return head_;
}

std::unique_ptr<DecodeState> Model::make_decode_state(Arena&, DType, const DecodeSizes&) const {
  fail("a model of architecture ", config_.architecture, " generates no text");
}

void check_sizes(const ModelConfig& config) {
  const auto check = [](int64_t value, int64_t most, const char* name) {
    if (value < 1 || value > most) fail_usage("model.", name, " is ", value, ": it must be from 1 to ", most);
  };
  check(config.hidden_size, most_width, "hidden_size");
  check(config.num_layers, most_layers, "num_layers");
  check(config.num_heads, most_width, "num_heads");
  check(config.inner_size(), most_inner, "ffn_size");
  check(config.vocab_size, most_rows, "vocab_size");
  check(config.max_positions, most_rows, "max_positions");
  if (!architecture_of(config).has_attention) return;
  if (config.hidden_size % config.num_heads)
    fail_usage("model.hidden_size ", config.hidden_size, " is not a multiple of model.num_heads ", config.num_heads);
  if (config.hidden_size / config.num_heads > 128)
    fail_usage("model.hidden_size / model.num_heads is ", config.hidden_size / config.num_heads,
               ": a head is at most 128 wide");
}

Tensor output_rows(const Run& run, const Tensor& hidden, const Tensor& index) {
  const bool all = !index || index.count() == hidden.rows();
  if (all && hidden.dtype == run.compute) return hidden;
  const Tensor result = run.arena.make(run.compute, {all ? hidden.rows() : index.count(), hidden.cols()});
  if (all) run.ops.copy({.x = hidden, .y = result});
  else run.ops.gather_rows({.x = hidden, .index = index, .y = result});
  return result;
}

Tensor model_logits(Pass& pass, Model& model, const Tokens& tokens, const Tensor& rows, Model::Saved& saved) {
  const Head& head = model.head();
  const int64_t count = rows ? rows.count() : tokens.ids.count();
  const Tensor logits = pass.arena.make(DType::f32, {count, head.outputs()});
  const ArenaScope scope(pass.arena);
  const Tensor chosen = output_rows(pass, model.hidden_states(pass, tokens, saved), rows);
  Head::Saved saved_head;
  head.project(pass, head.forward(pass, chosen, saved_head), logits);
  return logits;
}

}  // namespace engine
