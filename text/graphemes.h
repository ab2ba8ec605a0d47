// Grapheme clusters (Unicode, annex 29): what a reader takes for one character, a letter with its accents for instance.
#pragma once

#include <cstdint>

namespace engine {

// Goes through the characters of a text and says where clusters begin.
class GraphemeBreaks {
 public:
  // Says whether a cluster begins with this character, which follows the last one that was given.
  bool breaks_before(char32_t character);

 private:
  uint8_t last_ = 0;              // property of the last character; 0: there is none
  bool pictograph_ = false;       // the cluster is a pictograph and what extends it
  bool odd_indicators_ = false;   // the last character is a regional indicator that waits for its second
};

// Says whether a character may belong to the cluster of the character before it.
bool may_extend_grapheme(char32_t character);
// Says whether the character behind belongs to this one's cluster, unless it is a control character.
bool prepends_grapheme(char32_t character);

}  // namespace engine
