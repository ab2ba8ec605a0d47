// What is done to a text before it is cut into words: steps on characters that keep their places in the original.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace engine {

// A character of a normalized text, and the part of the original, in code points, that it stands for: [begin, end).
struct PlacedCharacter {
  char32_t character;
  int32_t begin, end;
};

class Normalizer {
 public:
  enum class Step : uint8_t {
    clean,             // no control characters; white space is " "
    space_chinese,     // a space before and behind each ideograph
    decompose,         // NFD
    compose,           // NFC
    decompose_compat,  // NFKD
    compose_compat,    // NFKC
    strip_nonspacing,  // no accents, as BERT strips them
    strip_marks,       // no combining marks
    lowercase,
  };

  Normalizer() = default;
  explicit Normalizer(std::vector<Step> steps) : steps_(std::move(steps)) {}
  // BERT's (Devlin et al. 2018, tokenization.py).
  static Normalizer bert(bool clean, bool space_chinese, bool strip_accents, bool lowercase);
  // The "normalizer" of a tokenizer.json: BertNormalizer, NFC, NFD, NFKC, NFKD, StripAccents, Lowercase and a Sequence
  // of them; an Error names any other.
  static Normalizer read(const nlohmann::json& normalizer, const std::string& where);

  nlohmann::ordered_json to_json() const;  // as read() reads it; null where there are no steps

  // The same with lower case before its steps, unless it has a Lowercase that is no part of a BertNormalizer, as
  // sentence-transformers does it.
  Normalizer lowering_first() const;

  bool has(Step step) const;
  bool empty() const { return steps_.empty(); }
  // Whether a character may take one that stands behind it into itself.
  bool composes() const { return has(Step::compose) || has(Step::compose_compat); }

  void apply(std::vector<PlacedCharacter>& text) const;
  std::string apply(std::string_view text) const;  // UTF-8

 private:
  std::vector<Step> steps_;
};

// The characters of a well-formed text, the first of which is number `first` of the original.
void append_characters(std::string_view text, int32_t first, std::vector<PlacedCharacter>& characters);
std::string utf8_of(std::span<const PlacedCharacter> characters);

}  // namespace engine
