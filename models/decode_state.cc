#include "models/decode_state.h"

#include "models/upload.h"

namespace engine {

KeyValueCache::KeyValueCache(Arena& arena, DType compute, const DecodeSizes& sizes_, int64_t layers, int64_t width,
                             bool with_sources)
    : DecodeState(sizes_) {
  for (int64_t layer = 0; layer < layers; ++layer) {
    for (std::vector<Tensor>* side : {&k, &v}) side->push_back(arena.make(compute, {sizes.slots * sizes.rows, width}));
    if (with_sources) source_kv.push_back(arena.make(compute, {sizes.source_slots * sizes.source_rows, 2 * width}));
  }
}

void KeyValueCache::make_gradients(Arena& arena) {
  for (const Tensor& layer : k)
    for (std::vector<Tensor>* side : {&dk, &dv}) side->push_back(arena.make_zeros(DType::f32, layer.shape));
}

void KeyValueCache::copy_slots(Ops& ops, Arena& arena, std::span<const Copy> copies) {
  int64_t count = 0;
  for (const Copy& copy : copies) count += copy.rows;
  if (!count) return;
  const ArenaScope scope(arena);
  Upload upload;
  const Upload::List from = upload.list(count), to = upload.list(count);
  size_t row = 0;
  for (const Copy& copy : copies)
    for (int64_t i = 0; i < copy.rows; ++i, ++row) {
      upload[from][row] = static_cast<int32_t>(copy.from * sizes.rows + i);
      upload[to][row] = static_cast<int32_t>(copy.to * sizes.rows + i);
    }
  upload.send(arena);
  const Tensor taken = arena.make(k.at(0).dtype, {count, k[0].cols()});
  for (const std::vector<Tensor>* side : {&k, &v})
    for (const Tensor& layer : *side) {
      ops.gather_rows({.x = layer, .index = upload.tensor(from), .y = taken});
      ops.scatter_rows({.x = taken, .index = upload.tensor(to), .y = layer});
    }
}

}  // namespace engine
