// A decoding state holds what a decoder keeps of the sequences that it continues, so that a pass runs over their new
// tokens alone. Each sequence has a slot. A model makes the kind of state that it reads (Model::make_decode_state).
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "core/arena.h"
#include "kernels/ops.h"

namespace engine {

class Upload;  // models/upload.h

struct DecodeSizes {
  int64_t slots = 0, rows = 0;                // sequences at once, and the most tokens of each
  int64_t source_slots = 0, source_rows = 0;  // the same for the sources of an encoder-decoder
};

class DecodeState {
 public:
  explicit DecodeState(const DecodeSizes& sizes_) : sizes(sizes_) {}
  virtual ~DecodeState() = default;

  // Copies the first `rows` tokens of slot `from` to slot `to`. No slot is both.
  struct Copy {
    int64_t from, to, rows;
  };
  virtual void copy_slots(Ops& ops, Arena& arena, std::span<const Copy> copies) = 0;

  // A part of a sequence that a pass runs: the tokens behind those that its slot holds.
  struct Part {
    int64_t slot, cached, tokens;
  };
  // These two serve a state that holds no row for each token. A caller calls list() with a pass's parts in their order
  // before the upload is sent, and take() behind it. list() throws an Error where the state cannot go on from there.
  virtual void list(Upload& /*upload*/, std::span<const Part> /*parts*/) {}
  virtual void take(const Upload& /*upload*/) {}

  const DecodeSizes sizes;
  // The caller sets before a pass where its tokens lie. Token t of slot s is row s * sizes.rows + t.
  Tensor rows;           // i32 [N], row of each token of the pass
  Segments keys;         // all tokens of the pass's sequences, new ones included
  Tensor source_rows;    // i32 [M], row of each source token of the pass
  Segments source_keys;  // sources of the pass's sequences
};

// The KV cache holds keys and values of tokens already seen. An encoder-decoder's also holds those of the sources.
class KeyValueCache final : public DecodeState {
 public:
  std::vector<Tensor> k, v;       // for each layer [slots * rows, C]
  std::vector<Tensor> source_kv;  // for each layer k | v [source_slots * source_rows, 2C]
  std::vector<Tensor> dk, dv;     // their gradients, f32, where passes through the cache are trained

  // Makes memory for `layers` layers of width C on the arena.
  KeyValueCache(Arena& arena, DType compute, const DecodeSizes& sizes, int64_t layers, int64_t width,
                bool with_sources);

  // Makes zeros for the gradients of k and v.
  void make_gradients(Arena& arena);
  void copy_slots(Ops& ops, Arena& arena, std::span<const Copy> copies) override;
};

}  // namespace engine
