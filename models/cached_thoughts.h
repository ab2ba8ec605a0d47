// CachedThoughts is what passes over cached sequences need of a model with thought states (thought_states.h). It keeps
// the state that each slot's last token leaves, for a thought that may come next.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "models/model.h"
#include "models/upload.h"

namespace engine {

// Cuts tokens before each thought but the first token: {1, T, T, 2} gives {1}, {T}, {T, 2}. Without a thought (-1)
// there is one part.
std::vector<std::span<const int32_t>> parts_at_thoughts(std::span<const int32_t> tokens, int32_t thought);

class CachedThoughts {
 public:
  // Makes memory for so many slots on the arena, where the model has thought states.
  CachedThoughts(const Model& model, Arena& arena, int64_t slots);

  // A part of a sequence that a pass runs. It has a thought at most at its beginning.
  struct Part {
    int64_t slot = 0, position = 0;  // position of its first token
    std::span<const int32_t> tokens;
  };
  // These four make one pass over parts in their order, which are of different slots: list() before the upload is sent,
  // begin() before the model runs, end() behind it. A model without thought states needs none of them, and they do
  // nothing for it.
  void list(Upload& upload, std::span<const Part> parts);
  void begin(Pass& pass, const Upload& upload);
  void end(Pass& pass, const Upload& upload);
  // Copies the states of slots along with what the slots hold.
  void copy_slots(Ops& ops, Arena& arena, std::span<const DecodeState::Copy> copies) const;

 private:
  const ThoughtStates& states_;
  const int32_t thought_;
  Tensor captured_;  // f32 [slots, C]; absent without thought states
  Upload::List inject_, inject_slots_, last_rows_, slots_;
  std::optional<ThoughtTap> tap_;
  Tensor now_;  // f32 [S, C] of the pass
};

}  // namespace engine
