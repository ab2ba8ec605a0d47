#include "models/cached_thoughts.h"

namespace engine {

CachedThoughts::CachedThoughts(const Model& model, Arena& arena, int64_t slots)
    : states_(model.thought_states()), thought_(model.config().thought_token) {
  if (states_) captured_ = arena.make_zeros(DType::f32, {slots, model.config().hidden_size});
}

void CachedThoughts::list_parts(Upload& upload, std::span<const Part> parts) {
  const auto injects = [&](const Part& part) { return part.tokens[0] == thought_ && part.position > 0; };
  int64_t count = 0;
  for (const Part& part : parts) count += injects(part);
  inject_ = upload.list(count), inject_slots_ = upload.list(count);
  last_rows_ = upload.list(std::ssize(parts)), slots_ = upload.list(std::ssize(parts));
  size_t injected = 0, row = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    const Part& part = parts[i];
    if (injects(part)) {
      upload[inject_][injected] = static_cast<int32_t>(row);
      upload[inject_slots_][injected++] = static_cast<int32_t>(part.slot);
    }
    row += part.tokens.size();
    upload[last_rows_][i] = static_cast<int32_t>(row) - 1;
    upload[slots_][i] = static_cast<int32_t>(part.slot);
  }
}

void CachedThoughts::begin(Pass& pass, const Upload& upload) {
  if (!states_) return;
  Tensor dense;
  if (inject_.count) {
    const Tensor captured = pass.arena.make(DType::f32, {static_cast<int64_t>(inject_.count), captured_.cols()});
    pass.ops.gather_rows({.x = captured_, .index = upload.tensor(inject_slots_), .y = captured});
    ThoughtStates::Saved saved;
    dense = states_.dense(pass, captured, saved);
  }
  now_ = pass.arena.make_zeros(DType::f32, {static_cast<int64_t>(slots_.count), captured_.cols()});
  tap_.emplace(states_);
  tap_->begin(inject_.count ? upload.tensor(inject_) : Tensor{}, dense, upload.tensor(last_rows_), now_);
  pass.tap = &*tap_;
}

void CachedThoughts::end(Pass& pass, const Upload& upload) {
  if (states_) pass.ops.scatter_rows({.x = now_, .index = upload.tensor(slots_), .y = captured_});
}

void CachedThoughts::copy_slots(Ops& ops, Arena& arena, std::span<const DecodeState::Copy> copies) const {
  if (!states_ || copies.empty()) return;
  const ArenaScope scope(arena);
  Upload upload;
  const auto count = std::ssize(copies);
  const Upload::List from = upload.list(count), to = upload.list(count);
  for (size_t i = 0; i < copies.size(); ++i) {
    upload[from][i] = static_cast<int32_t>(copies[i].from);
    upload[to][i] = static_cast<int32_t>(copies[i].to);
  }
  upload.send(arena);
  const Tensor taken = arena.make(DType::f32, {count, captured_.cols()});
  ops.gather_rows({.x = captured_, .index = upload.tensor(from), .y = taken});
  ops.scatter_rows({.x = taken, .index = upload.tensor(to), .y = captured_});
}

}  // namespace engine
