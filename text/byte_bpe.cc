#include "text/byte_bpe.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "text/gpt2_words.h"
#include "text/tokenizer_json.h"
#include "text/unicode.h"
#include "text/word_cache.h"

namespace engine {

namespace {

struct OuterSpaces {
  int32_t leading = 0, trailing = 0;  // characters
};

// What trimmed offsets leave out: of the bytes of a token, the spaces (a line's end stays); of the text that an added
// token took, all white space.
OuterSpaces outer_spaces_of_bytes(std::string_view token) {
  const size_t first = std::min(token.find_first_not_of(' '), token.size());
  const size_t behind_last = token.find_last_not_of(' ') + 1;  // npos + 1 is 0
  return {static_cast<int32_t>(first), static_cast<int32_t>(token.size() - behind_last)};
}

OuterSpaces outer_spaces_of_text(std::string_view text) {
  OuterSpaces spaces;
  const char *const begin = text.data(), *const end = begin + text.size();
  for (const char* place = begin; place < end && class_of(next_character(place)) == CharacterClass::space;)
    ++spaces.leading;
  for (const char* place = end; place > begin && class_of(previous_character(place)) == CharacterClass::space;)
    ++spaces.trailing;
  return spaces;
}

// The bytes of a piece of text in order, and how many characters have begun up to there.
class CharacterCounter {
 public:
  CharacterCounter(std::string_view text, int32_t characters) : text_(text), characters_(characters) {}
  // The characters that hold the next `bytes` bytes: [begin, end).
  std::pair<int32_t, int32_t> take(size_t bytes) {
    const bool within = place_ < text_.size() && bytes > 0 && (text_[place_] & 0xc0) == 0x80;
    const int32_t begin = characters_ - within;
    for (; bytes > 0; --bytes, ++place_) characters_ += (text_[place_] & 0xc0) != 0x80;
    return {begin, characters_};
  }

 private:
  std::string_view text_;
  size_t place_ = 0;
  int32_t characters_;
};

// A piece of a text as the normalizer leaves it, and the way back to the original's characters.
class NormalizedPiece {
 public:
  NormalizedPiece(std::string_view piece, int32_t first, const Normalizer& normalizer) : text(piece), first_(first) {
    if (normalizer.empty()) return;
    append_characters(piece, first, placed_);
    normalizer.apply(placed_);
    text = changed_ = utf8_of(placed_);
  }
  std::pair<int32_t, int32_t> original(std::pair<int32_t, int32_t> offsets) const {
    const auto [begin, end] = offsets;
    if (placed_.empty()) return {begin + first_, end + first_};
    return {placed_[static_cast<size_t>(begin)].begin, placed_[static_cast<size_t>(std::max(end - 1, begin))].end};
  }

  std::string_view text;

 private:
  int32_t first_;
  std::vector<PlacedCharacter> placed_;
  std::string changed_;
};

}  // namespace

const std::array<char32_t, 256>& byte_characters() {
  static const std::array<char32_t, 256> characters = [] {
    std::array<char32_t, 256> table{};
    char32_t next = 0x100;
    for (char32_t byte = 0; byte < 256; ++byte) {
      const bool printable = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte != 0xad);
      table[byte] = printable ? byte : next++;
    }
    return table;
  }();
  return characters;
}

bool bytes_of_token(std::string_view token, std::string& bytes) {
  static const std::array<int, 0x144> byte_of = [] {
    std::array<int, 0x144> table;
    table.fill(-1);
    for (int byte = 0; byte < 256; ++byte) table[byte_characters()[static_cast<size_t>(byte)]] = byte;
    return table;
  }();
  bytes.clear();
  for (const char *place = token.data(), *end = place + token.size(); place < end;) {
    const char32_t character = next_character(place);
    if (character >= byte_of.size() || byte_of[character] < 0) return false;
    bytes += static_cast<char>(byte_of[character]);
  }
  return true;
}

ByteBpeTokenizer::ByteBpeTokenizer(Vocabulary vocabulary, BpeMerges merges, ByteBpeSettings settings,
                                   TokenizerFiles files, Normalizer normalizer)
    : VocabularyTokenizer(std::move(vocabulary), std::move(files)),
      merges_(std::move(merges)),
      settings_(settings),
      normalizer_(std::move(normalizer)),
      instance_(WordCache::new_owner()) {
  for (size_t byte = 0; byte < 256; ++byte) {
    std::string token;
    append_utf8(token, byte_characters()[byte]);
    byte_ids_[byte] = vocabulary_.find(token);
  }
  token_bytes_.resize(static_cast<size_t>(vocabulary_.size()));
  for (int32_t id = 0; id < vocabulary_.size(); ++id) {
    std::string& bytes = token_bytes_[static_cast<size_t>(id)];
    if (vocabulary_.is_added(id) || !bytes_of_token(vocabulary_.token(id), bytes)) bytes = vocabulary_.token(id);
  }
  if (settings_.whole_words)
    for (int32_t id = 0; id < vocabulary_.size(); ++id) whole_words_.emplace(token_bytes_[static_cast<size_t>(id)], id);
}

void ByteBpeTokenizer::encode_uncached(std::string_view word, std::vector<int32_t>& ids) const {
  ids.clear();
  if (const auto whole = whole_words_.find(word); whole != whole_words_.end()) {
    ids.push_back(whole->second);
    return;
  }
  for (const char byte : word) {
    const int32_t id = byte_ids_[static_cast<unsigned char>(byte)];
    if (id < 0 && vocabulary_.unknown < 0)
      fail("the tokenizer's vocabulary has no token for the byte ", static_cast<int>(static_cast<unsigned char>(byte)),
           " of the word \"", word.substr(0, 60), "\", and none for unknown ones");
    ids.push_back(id < 0 ? vocabulary_.unknown : id);
  }
  merges_.apply(ids);
}

void ByteBpeTokenizer::encode_words(std::string_view text, std::vector<int32_t>& ids) const {
  WordCache& cache = WordCache::of_this_thread();
  thread_local std::vector<int32_t> tokens;
  // Known words go through a small buffer: growing `ids` by one word at a time would cost more than finding it.
  std::array<int32_t, 1024> buffer;
  size_t buffered = 0;
  const auto flush = [&] {
    ids.insert(ids.end(), buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(buffered));
    buffered = 0;
  };
  const char* const end = text.data() + text.size();
  for (const char* place = text.data(); place < end;) {
    const char* const word_end = gpt2_word_end(place, end);
    const std::string_view word(place, static_cast<size_t>(word_end - place));
    place = word_end;
    if (const WordCache::Word* known = cache.find(instance_, word, end)) {
      std::memcpy(&buffer[buffered], known->ids, sizeof known->ids);
      buffered += known->count;
    } else {
      encode_uncached(word, tokens);
      cache.keep(word, tokens);
      flush();
      ids.insert(ids.end(), tokens.begin(), tokens.end());
    }
    if (buffered + WordCache::most_tokens > buffer.size()) flush();
  }
  flush();
}

bool ByteBpeTokenizer::needs_space(std::string_view piece) const {
  return settings_.add_prefix_space && !piece.empty() && piece[0] != ' ';
}

void ByteBpeTokenizer::encode_piece(std::string_view piece, std::vector<int32_t>& ids) const {
  if (needs_space(piece)) encode_words(std::string(1, ' ').append(piece), ids);
  else encode_words(piece, ids);
}

void ByteBpeTokenizer::encode(std::string_view text, std::vector<int32_t>& ids, bool continues) const {
  require_utf8(text);
  for (const AddedTokens::Piece& piece : vocabulary_.added().split(text)) {
    if (piece.token >= 0) ids.push_back(vocabulary_.added().all()[static_cast<size_t>(piece.token)].id);
    else encode_normalized(piece.text, continues && piece.text.data() == text.data(), ids);
  }
}

void ByteBpeTokenizer::encode_normalized(std::string_view piece, bool continues, std::vector<int32_t>& ids) const {
  std::string normalized;
  if (!normalizer_.empty()) piece = normalized = normalizer_.apply(piece);
  if (continues) encode_words(piece, ids);
  else encode_piece(piece, ids);
}

Encoding ByteBpeTokenizer::encode_with_offsets(std::string_view text) const {
  require(text.size() <= INT32_MAX, "a text of ", text.size(), " bytes is too long for offsets of 32 bits");
  require_utf8(text);
  Encoding encoding;
  int32_t characters = 0;  // before the piece
  const auto add_offsets = [&](std::pair<int32_t, int32_t> offsets, OuterSpaces spaces) {
    auto& [begin, end] = encoding.offsets.emplace_back(offsets);
    if (!settings_.trim_offsets) return;
    // A space that was put in front of the text is not in its offsets.
    const bool is_first = encoding.offsets.size() == 1 || begin == 0;
    if (!(is_first && settings_.add_prefix_space)) begin = std::min(begin + spaces.leading, end);
    if (end >= spaces.trailing) end = std::max(end - spaces.trailing, begin);
  };
  for (const AddedTokens::Piece& piece : vocabulary_.added().split(text)) {
    const int32_t begin = characters;
    characters += static_cast<int32_t>(count_characters(piece.text));
    if (piece.token >= 0) {
      encoding.ids.push_back(vocabulary_.added().all()[static_cast<size_t>(piece.token)].id);
      add_offsets({begin, characters}, outer_spaces_of_text(piece.text));
      continue;
    }
    const NormalizedPiece normalized(piece.text, begin, normalizer_);
    CharacterCounter counter(normalized.text, 0);
    size_t in_front = needs_space(normalized.text);  // bytes that the text does not have
    const size_t first = encoding.ids.size();
    encode_piece(normalized.text, encoding.ids);
    for (size_t i = first; i < encoding.ids.size(); ++i) {
      const int32_t id = encoding.ids[i];
      const std::string_view token = token_bytes_[static_cast<size_t>(id)];
      const size_t bytes = id == vocabulary_.unknown ? 1 : token.size(), missing = std::min(in_front, bytes);
      in_front -= missing;
      auto offsets = counter.take(bytes - missing);
      // A token that is but the space in front has the place of the character that it was put before.
      if (missing == bytes) ++offsets.second;
      add_offsets(normalized.original(offsets), outer_spaces_of_bytes(token));
    }
  }
  return encoding;
}

std::string ByteBpeTokenizer::decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  std::string bytes;
  for (const int32_t id : ids) {
    if (vocabulary_.is_beyond(id)) continue;
    if (!skip_special_tokens || !vocabulary_.is_special(id)) bytes += token_bytes_[static_cast<size_t>(id)];
  }
  return repair_utf8(bytes);
}

TokenizerFiles ByteBpeTokenizer::made_files() const { return byte_bpe_files(vocabulary_, merges_, settings_); }

}  // namespace engine
