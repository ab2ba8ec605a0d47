// BERT splits text into words at white space, and around each character of punctuation.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "text/character_kinds.h"
#include "text/gpt2_words.h"
#include "text/normalizer.h"

namespace engine {

// Calls word(part) for each word of a normalized text.
template <class Word>
void for_each_bert_word(std::span<const PlacedCharacter> text, const Word& word) {
  const auto ends_word = [&](size_t i) {
    return (kinds_of(text[i].character) & (CharacterKind::space | CharacterKind::punctuation)) != 0;
  };
  for (size_t begin = 0, end; begin < text.size(); begin = end) {
    end = begin + 1;
    if (kinds_of(text[begin].character) & CharacterKind::space) continue;
    if (!ends_word(begin))
      while (end < text.size() && !ends_word(end)) ++end;
    word(text.subspan(begin, end - begin));
  }
}

// Splits text that is not normalized yet into chunks that each can be normalized alone. They end at white space and
// punctuation of ASCII. No step of a normalizer reaches across these, except for the three characters that an accent
// may become part of.
class BertChunks {
 public:
  enum class Kind : uint8_t { inside, space, punctuation };

  explicit BertChunks(const Normalizer& normalizer) {
    for (unsigned char byte = 0; byte < 128; ++byte) {
      const bool may_compose = normalizer.composes() && byte >= '<' && byte <= '>';
      const bool is_punctuation = (kinds_of(byte) & CharacterKind::punctuation) && !may_compose;
      const bool is_space = byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
      kinds_[byte] = is_space ? Kind::space : is_punctuation ? Kind::punctuation : Kind::inside;
    }
  }
  Kind kind(char byte) const { return kinds_[static_cast<unsigned char>(byte)]; }

  // Returns the end of the chunk that begins at `place`.
  const char* end_of(const char* place, const char* end) const {
    while (end - place >= 8) {
      const int letters = detail::leading_ascii_letters(place);
      place += letters;
      if (letters == 8) continue;
      if (kind(*place) != Kind::inside) return place;
      ++place;
    }
    while (place < end && kind(*place) == Kind::inside) ++place;
    return place;
  }

 private:
  std::array<Kind, 256> kinds_{};
};

}  // namespace engine
