// A normalizer changes a text before it is split into words, in steps on characters that keep their places in the
// original.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace engine {

// A character of a normalized text stands for a part of the original, in code points: [begin, end).
struct PlacedCharacter {
  char32_t character;
  int32_t begin, end;
};

// A character of a step's result, and by how many characters the result has grown there: 0 where it stands for one
// character, 1 if it is new, -n if it stands for n others as well.
struct CharacterChange {
  char32_t character;
  int change;
};
// Overwrites a text with a step's result. Each character has the place of the one that it stands for, a new one that of
// the character before it.
void place_changes(const std::vector<CharacterChange>& changes, std::vector<PlacedCharacter>& text);

class Rewrite;

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
    rewrite,           // a step with data of its own
  };
  struct Action {
    Action(Step simple) : step(simple) {}
    Action(std::shared_ptr<const Rewrite> own) : step(Step::rewrite), rewrite(std::move(own)) {}

    Step step;
    std::shared_ptr<const Rewrite> rewrite;
  };

  Normalizer() = default;
  explicit Normalizer(std::vector<Action> actions) : actions_(std::move(actions)) {}
  // Makes BERT's normalizer (Devlin et al. 2018, tokenization.py).
  static Normalizer bert(bool clean, bool space_chinese, bool strip_accents, bool lowercase);
  // Reads the "normalizer" of a tokenizer.json: BertNormalizer, NFC, NFD, NFKC, NFKD, StripAccents, Lowercase and a
  // Sequence of them, with `rewrites` also those of text/rewrites.h. An Error names any other.
  static Normalizer read(const nlohmann::json& normalizer, const std::string& where, bool rewrites = false);

  nlohmann::ordered_json to_json() const;  // as read() reads it; null where there are no steps

  // Returns the same with lower case before its steps, unless it has a Lowercase outside a BertNormalizer, as
  // sentence-transformers does.
  Normalizer lowering_first() const;

  bool has(Step step) const;
  bool empty() const { return actions_.empty(); }
  const std::vector<Action>& actions() const { return actions_; }
  // Says whether two characters may become one.
  bool composes() const { return has(Step::compose) || has(Step::compose_compat); }

  void apply(std::vector<PlacedCharacter>& text) const;
  std::string apply(std::string_view text) const;  // UTF-8

 private:
  std::vector<Action> actions_;
};

// Appends the characters of a well-formed text. The first is number `first` of the original.
void append_characters(std::string_view text, int32_t first, std::vector<PlacedCharacter>& characters);
std::string utf8_of(std::span<const PlacedCharacter> characters);

// Returns a well-formed text in lower case, whatever its scripts.
std::string in_lower_case(std::string_view text);

}  // namespace engine
