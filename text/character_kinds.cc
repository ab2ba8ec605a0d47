#include "text/character_kinds.h"

#include <span>
#include <vector>

namespace engine {

namespace {

struct Range {
  char32_t first, last;
};

#include "text/character_ranges.inc"

constexpr Range space_ranges[] = {{0x9, 0xd},       {0x20, 0x20},     {0x85, 0x85},     {0xa0, 0xa0},
                                  {0x1680, 0x1680}, {0x2000, 0x200a}, {0x2028, 0x2029}, {0x202f, 0x202f},
                                  {0x205f, 0x205f}, {0x3000, 0x3000}};

// These are the reference's. Its fifth block begins at U+2B920, not at U+2B820.
constexpr Range chinese_ranges[] = {{0x3400, 0x4dbf},   {0x4e00, 0x9fff},   {0xf900, 0xfaff},  {0x20000, 0x2a6df},
                                    {0x2a700, 0x2b81f}, {0x2b920, 0x2ceaf}, {0x2f800, 0x2fa1f}};

const uint8_t* make_kinds() {
  static std::vector<uint8_t> kinds(0x110000);
  const auto set = [&](std::span<const Range> ranges, uint8_t kind) {
    for (const Range& range : ranges)
      for (char32_t character = range.first; character <= range.last; ++character)
        kinds[character] = static_cast<uint8_t>(kinds[character] | kind);
  };
  set(control_ranges, CharacterKind::control);
  set(punctuation_ranges, CharacterKind::punctuation);
  set(nonspacing_ranges, CharacterKind::nonspacing);
  set(mark_ranges, CharacterKind::mark);
  set(chinese_ranges, CharacterKind::chinese);
  set(space_ranges, CharacterKind::space);
  return kinds.data();
}

}  // namespace

namespace detail {
const uint8_t* const character_kinds = make_kinds();
}

}  // namespace engine
