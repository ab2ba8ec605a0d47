// CachedThoughts is what passes over cached sequences need of a model with thought states (thought_states.h). It keeps
// the state that each slot's last token leaves, for a thought that may come next.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "models/model.h"
#include "models/upload.h"

namespace engine {

class CachedThoughts {
 public:
  // Makes memory for so many slots on the arena, where the model has thought states.
  CachedThoughts(const Model& model, Arena& arena, int64_t slots);

  // A part of a sequence that a pass runs. It has a thought at most at its beginning.
  struct Part {
    int64_t slot = 0, position = 0;  // position of its first token
    std::span<const int32_t> tokens;
  };
  // These three make one pass over parts in their order, which are of different slots: list() before the upload is
  // sent, begin() before the model runs, end() behind it. A model without thought states needs none of them, and they
  // do nothing for it. part_of gives the part of each item.
  template <class Items, class PartOf>
  void list(Upload& upload, const Items& items, const PartOf& part_of) {
    if (!states_) return;
    std::vector<Part> parts;
    for (const auto& item : items) parts.push_back(part_of(item));
    list_parts(upload, parts);
  }
  void begin(Pass& pass, const Upload& upload);
  void end(Pass& pass, const Upload& upload);
  // Copies the states of slots along with what the slots hold.
  void copy_slots(Ops& ops, Arena& arena, std::span<const DecodeState::Copy> copies) const;

 private:
  void list_parts(Upload& upload, std::span<const Part> parts);

  const ThoughtStates& states_;
  const int32_t thought_;
  Tensor captured_;  // f32 [slots, C]; absent without thought states
  Upload::List inject_, inject_slots_, last_rows_, slots_;
  std::optional<ThoughtTap> tap_;
  Tensor now_;  // f32 [S, C] of the pass
};

}  // namespace engine
