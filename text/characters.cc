#include "text/characters.h"

#include <algorithm>

#include "core/error.h"
#include "text/tokenizer_json.h"
#include "text/unicode.h"

namespace engine {

namespace {

constexpr char end_of_text[] = "<|endoftext|>";

// The line is told where there are several.
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

CharacterTokenizer::CharacterTokenizer(Vocabulary vocabulary, bool skips_space, TokenizerFiles files)
    : VocabularyTokenizer(std::move(vocabulary), std::move(files)), skips_space_(skips_space) {
  ascii_ids_.fill(-1);
  for (int32_t id = 0; id < vocabulary_.size(); ++id) {
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

// token(id, characters before it, characters it stands for), in order.
template <class Token>
void CharacterTokenizer::for_each_token(std::string_view text, const Token& token) const {
  require_utf8(text);
  int32_t characters = 0;
  for (const AddedTokens::Piece& piece : vocabulary_.added().split(text)) {
    if (piece.token >= 0) {
      const auto count = static_cast<int32_t>(count_characters(piece.text));
      token(vocabulary_.added().all()[static_cast<size_t>(piece.token)].id, characters, count);
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
      token(id, characters, 1);
    }
  }
}

void CharacterTokenizer::encode(std::string_view text, std::vector<int32_t>& ids) const {
  for_each_token(text, [&](int32_t id, int32_t, int32_t) { ids.push_back(id); });
}

Encoding CharacterTokenizer::encode_with_offsets(std::string_view text) const {
  require(text.size() <= INT32_MAX, "a text of ", text.size(), " bytes is too long for offsets of 32 bits");
  Encoding encoding;
  for_each_token(text, [&](int32_t id, int32_t begin, int32_t count) {
    encoding.ids.push_back(id);
    encoding.offsets.emplace_back(begin, begin + count);
  });
  return encoding;
}

std::string CharacterTokenizer::decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  std::string text;
  for (const int32_t id : ids) {
    if (vocabulary_.is_beyond(id)) continue;
    const std::string& token = vocabulary_.token(id);
    if (!skip_special_tokens || !vocabulary_.is_special(id)) text += token;
  }
  return text;
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

std::unique_ptr<Tokenizer> make_character_tokenizer(const CharacterSet& characters) {
  std::vector<std::string> tokens = {end_of_text};
  for (char32_t character = 0; character < characters.seen().size(); ++character)
    if (characters.seen()[character]) append_utf8(tokens.emplace_back(), character);
  Vocabulary vocabulary(std::move(tokens));
  vocabulary.add_special(end_of_text);
  vocabulary.end = vocabulary.begin = 0;
  return std::make_unique<CharacterTokenizer>(std::move(vocabulary), false, TokenizerFiles{});
}

std::unique_ptr<Tokenizer> make_arithmetic_tokenizer() {
  const std::vector<std::string> special = {"<pad>", "<eos>", "<bos>", "<start>"};
  std::vector<std::string> tokens = special;
  for (const char character : std::string_view("0123456789+-*()=")) tokens.emplace_back(1, character);
  Vocabulary vocabulary(std::move(tokens));
  for (const std::string& token : special) vocabulary.add_special(token);
  vocabulary.pad = 0, vocabulary.end = 1, vocabulary.begin = 2;
  return std::make_unique<CharacterTokenizer>(std::move(vocabulary), true, TokenizerFiles{});
}

}  // namespace engine
