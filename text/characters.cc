#include "text/characters.h"

#include <algorithm>

#include "core/error.h"
#include "text/tokenizer_json.h"
#include "text/unicode.h"

namespace engine {

namespace {

constexpr char end_of_text[] = "<|endoftext|>";

// The message gives the line if the text has several.
[[noreturn]] void fail_unknown(std::string_view text, const char* place) {
  const std::string_view before = text.substr(0, static_cast<size_t>(place - text.data()));
  const size_t line_begin = before.rfind('\n') + 1;  // npos + 1 is 0
  const bool one_line = text.find('\n') + 1 >= text.size() || text.find('\n') == std::string_view::npos;
  const std::string line =
      one_line ? "" : "line " + std::to_string(std::count(before.begin(), before.end(), '\n') + 1) + ", ";
  const char32_t character = next_character(place);
  fail("the character ", shown(character), " in ", line, "column ", count_characters(before.substr(line_begin)) + 1,
       " is not in the tokenizer's vocabulary");
}

}  // namespace

CharacterTokenizer::CharacterTokenizer(Vocabulary vocabulary, bool skips_space)
    : VocabularyTokenizer(std::move(vocabulary)), skips_space_(skips_space) {
  ascii_ids_.fill(-1);
  for (int32_t id = 0; id < vocabulary_.size(); ++id) {
    if (!vocabulary_.is_in_model(id)) continue;
    const std::string& token = vocabulary_.token(id);
    if (token.empty() || count_characters(token) != 1) {
      require(vocabulary_.is_added(id) || id == vocabulary_.unknown, "the token \"", token,
              "\" of a character tokenizer is neither a character nor an added token");
      continue;
    }
    const char* place = token.data();
    const char32_t character = next_character(place);
    if (character < 128)
      ascii_ids_[character] = id;
    else
      other_ids_.emplace(character, id);
  }
}

int32_t CharacterTokenizer::id_of_character(char32_t character) const {
  if (character < 128) return ascii_ids_[character];
  const auto found = other_ids_.find(character);
  return found == other_ids_.end() ? -1 : found->second;
}

// Calls token(id, its text, characters before it, characters it stands for) for each token, in order.
template <class Token>
void CharacterTokenizer::for_each_token(std::string_view text, const Token& token) const {
  require_utf8(text);
  int32_t characters = 0;
  for (const AddedTokens::Piece& piece : plain_added_.split(text)) {
    characters -= piece.overlap;
    if (piece.token >= 0) {
      const auto count = static_cast<int32_t>(count_characters(piece.text));
      token(plain_added_.all()[static_cast<size_t>(piece.token)].id, piece.text, characters, count);
      characters += count;
      continue;
    }
    for (const char *place = piece.text.data(), *end = place + piece.text.size(); place < end; ++characters) {
      const char* const begin = place;
      const char32_t character = next_character(place);
      if (skips_space_ && class_of(character) == CharacterClass::space) continue;
      int32_t id = id_of_character(character);
      if (id < 0) id = vocabulary_.unknown;
      if (id < 0) fail_unknown(text, begin);
      token(id, vocabulary_.token(id), characters, 1);
    }
  }
}

void CharacterTokenizer::encode(std::string_view text, std::vector<int32_t>& ids) const {
  for_each_token(text, [&](int32_t id, std::string_view, int32_t, int32_t) { ids.push_back(id); });
}

Encoding CharacterTokenizer::encode_with_offsets(std::string_view text) const {
  require(text.size() <= INT32_MAX, "a text of ", text.size(), " bytes is too long for offsets of 32 bits");
  Encoding encoding;
  for_each_token(text, [&](int32_t id, std::string_view spelled, int32_t begin, int32_t count) {
    add_token(id, spelled, {begin, begin + count}, encoding);
  });
  return encoding;
}

std::string CharacterTokenizer::decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  const std::vector<int32_t> kept = decodable(ids, skip_special_tokens);
  if (!vocabulary_.traits.has_decoder) return cleaned_up(joined(kept));
  std::string text;
  for (const int32_t id : kept) text += vocabulary_.token(id);
  return cleaned_up(std::move(text));
}

TokenizerFiles CharacterTokenizer::made_files() const { return character_files(vocabulary_, skips_space_); }

void CharacterSet::add(std::string_view text) {
  require_utf8(text);
  for (const char *place = text.data(), *end = place + text.size(); place < end;) seen_[next_character(place)] = true;
}

std::unique_ptr<Tokenizer> make_character_tokenizer(const std::vector<std::string_view>& texts) {
  CharacterSet characters;
  for (const std::string_view text : texts) characters.add(text);
  return make_character_tokenizer(characters);
}

std::unique_ptr<Tokenizer> make_character_tokenizer(const CharacterSet& characters,
                                                    const std::vector<std::string>& special_tokens) {
  std::vector<std::string> tokens = {end_of_text};
  for (char32_t character = 0; character < characters.seen().size(); ++character)
    if (characters.seen()[character]) append_utf8(tokens.emplace_back(), character);
  for (const std::string& token : special_tokens)
    if (std::find(tokens.begin(), tokens.end(), token) == tokens.end()) tokens.push_back(token);
  Vocabulary vocabulary(std::move(tokens));
  vocabulary.add_special(end_of_text);
  for (const std::string& token : special_tokens) vocabulary.add_special(token);
  vocabulary.traits.extra = special_tokens;
  for (const char* key : {"eos_token", "bos_token"}) vocabulary.name(key, 0);
  vocabulary.traits.token_types = false;
  return std::make_unique<CharacterTokenizer>(std::move(vocabulary), false);
}

std::unique_ptr<Tokenizer> make_symbol_tokenizer(const std::vector<std::string>& symbols,
                                                 const std::vector<std::string>& special_tokens) {
  std::vector<std::pair<std::string, int64_t>> tokens;
  std::vector<AddedToken> added;
  const auto add = [&](const std::vector<std::string>& some, bool special) {
    for (const std::string& content : some) {
      const auto id = static_cast<int32_t>(tokens.size());
      tokens.emplace_back(content, id);
      added.push_back({.id = id, .content = content, .special = special});
    }
  };
  add(symbols, false);
  add(special_tokens, true);
  Vocabulary vocabulary(tokens, added, "a vocabulary of symbols");
  vocabulary.traits.extra = special_tokens;
  vocabulary.traits.token_types = false;
  return std::make_unique<CharacterTokenizer>(std::move(vocabulary), false);
}

namespace {

// The special tokens come first, then the characters, then more special tokens. <eos> is 1 and <pad> 0.
Vocabulary arithmetic_vocabulary(const std::vector<std::string>& special, std::string_view characters,
                                 const std::vector<std::string>& more_special = {}) {
  std::vector<std::string> tokens = special;
  for (const char character : characters) tokens.emplace_back(1, character);
  tokens.insert(tokens.end(), more_special.begin(), more_special.end());
  Vocabulary vocabulary(std::move(tokens));
  for (const std::string& token : special) vocabulary.add_special(token);
  for (const std::string& token : more_special) vocabulary.add_special(token);
  vocabulary.traits.extra = more_special;
  vocabulary.name("eos_token", 1);
  vocabulary.name("pad_token", 0);
  vocabulary.traits.token_types = false;
  return vocabulary;
}

}  // namespace

std::unique_ptr<Tokenizer> make_arithmetic_tokenizer() {
  Vocabulary vocabulary = arithmetic_vocabulary({"<pad>", "<eos>", "<bos>", "<start>"}, "0123456789+-*()=");
  vocabulary.name("bos_token", 2);
  vocabulary.traits.passed_on = R"({"padding_side": "left"})";
  return std::make_unique<CharacterTokenizer>(std::move(vocabulary), true);
}

std::unique_ptr<Tokenizer> make_problem_tokenizer(const std::vector<std::string>& special_tokens) {
  return std::make_unique<CharacterTokenizer>(
      arithmetic_vocabulary({"<pad>", "<eos>"}, "0123456789+*()=", special_tokens), true);
}

}  // namespace engine
