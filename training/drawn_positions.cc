#include "training/drawn_positions.h"

#include <algorithm>

#include "core/error.h"
#include "core/random.h"

namespace engine {

std::vector<int32_t> draw_positions(const SequenceBatch& batch, int64_t first, int64_t last, int64_t max_positions,
                                    uint64_t seed, uint32_t step) {
  constexpr uint64_t stream = uint64_t{0x7270} << 48;
  // A draw takes one number now and then two, so each sequence has room for its own.
  const auto room = static_cast<uint64_t>(2 * max_positions + 64);
  Random random(seed, stream | step);
  std::vector<int32_t> result, drawn;
  for (int64_t s = first; s < last; ++s) {
    const int32_t begin = batch.offsets[static_cast<size_t>(s)], end = batch.offsets[static_cast<size_t>(s) + 1];
    const auto given = [&](int32_t i) {
      return batch.positions.empty() ? i - begin : batch.positions[static_cast<size_t>(i)];
    };
    int32_t count = 0;
    for (int32_t i = begin; i < end; ++i) count = std::max(count, given(i) + 1);
    require(count <= max_positions, "a sequence has ", count, " tokens, the model ", max_positions, " positions");
    random.seek(static_cast<uint64_t>(s) * room);
    const int32_t most = count + static_cast<int32_t>(random.below(static_cast<uint32_t>(max_positions - count + 1)));
    drawn.clear();
    // Each is taken with the probability with which one of the remaining is still needed.
    for (int32_t p = 0; static_cast<int32_t>(drawn.size()) < count; ++p)
      if (random.below(static_cast<uint32_t>(most - p)) < static_cast<uint32_t>(count) - drawn.size())
        drawn.push_back(p);
    for (int32_t i = begin; i < end; ++i) result.push_back(drawn[static_cast<size_t>(given(i))]);
  }
  return result;
}

}  // namespace engine
