#include "text/graphemes.h"

#include <utf8proc.h>

#include <vector>

namespace engine {

namespace {

// Marks that Unicode has since 16 and 17, for a utf8proc that does not know them (tests/golden/make_unigram.py).
struct MarkRange {
  char32_t first, last;
};
constexpr MarkRange recent_marks[] = {
    {0x897, 0x897},     {0x1acf, 0x1add},   {0x1ae0, 0x1aeb},   {0x10d69, 0x10d6d}, {0x10efa, 0x10efc},
    {0x113b8, 0x113c0}, {0x113c2, 0x113c2}, {0x113c5, 0x113c5}, {0x113c7, 0x113ca}, {0x113cc, 0x113d0},
    {0x113d2, 0x113d2}, {0x113e1, 0x113e2}, {0x11b60, 0x11b67}, {0x11f5a, 0x11f5a}, {0x1611e, 0x1612f},
    {0x1e5ee, 0x1e5ef}, {0x1e6e3, 0x1e6e3}, {0x1e6e6, 0x1e6e6}, {0x1e6ee, 0x1e6ef}, {0x1e6f5, 0x1e6f5}};

std::vector<uint8_t> make_properties() {
  std::vector<uint8_t> properties(0x110000);
  for (size_t i = 0; i < properties.size(); ++i)
    properties[i] = static_cast<uint8_t>(utf8proc_get_property(static_cast<utf8proc_int32_t>(i))->boundclass);
  for (const MarkRange& range : recent_marks)
    for (char32_t mark = range.first; mark <= range.last; ++mark) properties[mark] = UTF8PROC_BOUNDCLASS_EXTEND;
  return properties;
}

uint8_t property_of(char32_t character) {
  static const std::vector<uint8_t> properties = make_properties();
  return properties[character];
}

bool is_control(uint8_t property) {
  return property == UTF8PROC_BOUNDCLASS_CR || property == UTF8PROC_BOUNDCLASS_LF ||
         property == UTF8PROC_BOUNDCLASS_CONTROL;
}

bool extends(uint8_t property) {
  return property == UTF8PROC_BOUNDCLASS_EXTEND || property == UTF8PROC_BOUNDCLASS_ZWJ ||
         property == UTF8PROC_BOUNDCLASS_SPACINGMARK;
}

// Says whether two parts of a Korean syllable belong together.
bool joins_syllable(uint8_t first, uint8_t second) {
  switch (first) {
    case UTF8PROC_BOUNDCLASS_L:
      return second == UTF8PROC_BOUNDCLASS_L || second == UTF8PROC_BOUNDCLASS_V || second == UTF8PROC_BOUNDCLASS_LV ||
             second == UTF8PROC_BOUNDCLASS_LVT;
    case UTF8PROC_BOUNDCLASS_LV:
    case UTF8PROC_BOUNDCLASS_V: return second == UTF8PROC_BOUNDCLASS_V || second == UTF8PROC_BOUNDCLASS_T;
    case UTF8PROC_BOUNDCLASS_LVT:
    case UTF8PROC_BOUNDCLASS_T: return second == UTF8PROC_BOUNDCLASS_T;
    default: return false;
  }
}

}  // namespace

bool GraphemeBreaks::breaks_before(char32_t character) {
  const uint8_t last = last_, next = property_of(character);
  const bool joins_indicator = odd_indicators_ && next == UTF8PROC_BOUNDCLASS_REGIONAL_INDICATOR;
  const bool joins_pictograph =
      pictograph_ && last == UTF8PROC_BOUNDCLASS_ZWJ && next == UTF8PROC_BOUNDCLASS_EXTENDED_PICTOGRAPHIC;
  last_ = next;
  odd_indicators_ = next == UTF8PROC_BOUNDCLASS_REGIONAL_INDICATOR && !joins_indicator;
  const bool continues = next == UTF8PROC_BOUNDCLASS_EXTEND || next == UTF8PROC_BOUNDCLASS_ZWJ;
  pictograph_ = next == UTF8PROC_BOUNDCLASS_EXTENDED_PICTOGRAPHIC || (pictograph_ && continues);
  if (last == UTF8PROC_BOUNDCLASS_CR && next == UTF8PROC_BOUNDCLASS_LF) return false;
  if (last == UTF8PROC_BOUNDCLASS_START || is_control(last) || is_control(next)) return true;
  return !(extends(next) || last == UTF8PROC_BOUNDCLASS_PREPEND || joins_syllable(last, next) || joins_pictograph ||
           joins_indicator);
}

bool may_extend_grapheme(char32_t character) { return extends(property_of(character)); }
bool prepends_grapheme(char32_t character) { return property_of(character) == UTF8PROC_BOUNDCLASS_PREPEND; }

}  // namespace engine
