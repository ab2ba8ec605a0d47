// What a decoder keeps of the sequences that it continues, so that a pass runs over their new tokens alone. Each sequence
// has a slot. A model makes the kind of state that it reads (Model::make_decode_state).
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "core/arena.h"
#include "kernels/ops.h"

namespace engine {

struct DecodeSizes {
  int64_t slots = 0, rows = 0;                // sequences at once, and the most tokens of one
  int64_t source_slots = 0, source_rows = 0;  // the same for the sources of an encoder-decoder
};

class DecodeState {
 public:
  explicit DecodeState(const DecodeSizes& sizes_) : sizes(sizes_) {}
  virtual ~DecodeState() = default;

  // The first `rows` tokens of slot `to` become those of slot `from`; no slot is both.
  struct Copy {
    int64_t from, to, rows;
  };
  virtual void copy_slots(Ops& ops, Arena& arena, std::span<const Copy> copies) const = 0;

  const DecodeSizes sizes;
  // The caller says before a pass where its tokens lie. Token t of slot s is row s * sizes.rows + t.
  Tensor rows;           // i32 [N], row of each token of the pass
  Segments keys;         // the tokens of every sequence of the pass, new ones included
  Tensor source_rows;    // i32 [M], row of each source token of the pass
  Segments source_keys;  // the source of every sequence of the pass
};

// Keys and values of tokens already seen; of an encoder-decoder also those of the sources, which are read once.
class KeyValueCache final : public DecodeState {
 public:
  std::vector<Tensor> k, v;       // of each layer [slots * rows, C]
  std::vector<Tensor> source_kv;  // of each layer k | v [source_slots * source_rows, 2C]

  // Memory for `layers` layers of width C on the arena.
  KeyValueCache(Arena& arena, DType compute, const DecodeSizes& sizes, int64_t layers, int64_t width, bool with_sources);

  void copy_slots(Ops& ops, Arena& arena, std::span<const Copy> copies) const override;
};

}  // namespace engine
