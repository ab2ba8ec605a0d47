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

// Goes through the bytes of a piece of text and counts the characters that have begun.
class CharacterCounter {
 public:
  CharacterCounter(std::string_view text, int32_t characters) : text_(text), characters_(characters) {}
  // Returns the characters that hold the next `bytes` bytes: [begin, end).
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

}  // namespace

// Keeps the characters of a normalized text, each with its place in the original.
class NormalizedPlaces {
 public:
  NormalizedPlaces(std::string_view piece, int32_t first, const Normalizer& normalizer) : text(piece), first_(first) {
    if (normalizer.empty()) return;
    append_characters(piece, first, placed_);
    normalizer.apply(placed_);
    text = changed_ = utf8_of(placed_);
  }
  // Returns the place in the original of characters of the normalized text, both [begin, end).
  std::pair<int32_t, int32_t> original(std::pair<int32_t, int32_t> offsets) const {
    const auto [begin, end] = offsets;
    if (placed_.empty()) return {begin + first_, end + first_};
    return {placed_[static_cast<size_t>(begin)].begin, placed_[static_cast<size_t>(std::max(end - 1, begin))].end};
  }

  std::string_view text;
  int32_t passed = 0;  // characters of `text` before the part that is encoded next

 private:
  int32_t first_;
  std::vector<PlacedCharacter> placed_;
  std::string changed_;
};

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
                                   Normalizer normalizer)
    : VocabularyTokenizer(std::move(vocabulary), normalizer),
      merges_(std::move(merges)),
      settings_(settings),
      normalizer_(std::move(normalizer)),
      instance_(WordCache::new_owner()) {
  for (size_t byte = 0; byte < 256; ++byte) {
    std::string token;
    append_utf8(token, byte_characters()[byte]);
    byte_ids_[byte] = vocabulary_.find_in_model(token);
  }
  knows_bytes_ = std::all_of(byte_ids_.begin(), byte_ids_.end(), [](int32_t id) { return id >= 0; });
  token_bytes_.resize(static_cast<size_t>(vocabulary_.size()));
  for (int32_t id = 0; id < vocabulary_.size(); ++id) {
    std::string& bytes = token_bytes_[static_cast<size_t>(id)];
    if (vocabulary_.is_only_added(id) || !bytes_of_token(shown(id), bytes)) bytes = shown(id);
  }
  if (!settings_.whole_words) return;
  for (int32_t id = 0; id < vocabulary_.size(); ++id)
    if (vocabulary_.is_in_model(id)) whole_words_.emplace(token_bytes_[static_cast<size_t>(id)], id);
}

void ByteBpeTokenizer::encode_bytes(std::string_view word, std::vector<int32_t>& ids) const {
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
}

void ByteBpeTokenizer::encode_uncached(std::string_view word, std::vector<int32_t>& ids) const {
  encode_bytes(word, ids);
  if (ids.size() == word.size()) merges_.apply(ids);
}

void ByteBpeTokenizer::encode_measured(std::string_view text, std::vector<int32_t>& ids,
                                       std::vector<size_t>& bytes) const {
  if (knows_bytes_) {
    encode_words(text, ids);
    for (const int32_t id : ids) bytes.push_back(token_bytes_[static_cast<size_t>(id)].size());
    return;
  }
  // The token for an unknown byte may be spelled with any number of letters, and may merge with others.
  std::vector<int32_t> tokens;
  for (const char *place = text.data(), *const end = place + text.size(); place < end;) {
    const char* const word_end = gpt2_word_end(place, end);
    const auto size = static_cast<size_t>(word_end - place);
    encode_bytes({place, size}, tokens);
    std::vector<size_t> lengths(tokens.size(), size / tokens.size());
    if (tokens.size() == size) merges_.apply(tokens, lengths);
    ids.insert(ids.end(), tokens.begin(), tokens.end());
    bytes.insert(bytes.end(), lengths.begin(), lengths.end());
    place = word_end;
  }
}

void ByteBpeTokenizer::encode_words(std::string_view text, std::vector<int32_t>& ids) const {
  WordCache& cache = WordCache::of_this_thread();
  thread_local std::vector<int32_t> tokens;
  TokenWriter writer(ids);
  const char* const end = text.data() + text.size();
  for (const char* place = text.data(); place < end;) {
    const char* const word_end = gpt2_word_end(place, end);
    const std::string_view word(place, static_cast<size_t>(word_end - place));
    place = word_end;
    if (const WordCache::Word* known = cache.find(instance_, word, end)) {
      writer.add(*known);
    } else {
      encode_uncached(word, tokens);
      cache.keep(word, tokens);
      writer.add(tokens);
    }
  }
}

bool ByteBpeTokenizer::needs_space(std::string_view piece) const {
  return settings_.add_prefix_space && !piece.empty() && piece[0] != ' ';
}

void ByteBpeTokenizer::encode_normalized(std::string_view piece, bool continues, std::vector<int32_t>& ids) const {
  if (!continues && needs_space(piece)) encode_words(std::string(1, ' ').append(piece), ids);
  else encode_words(piece, ids);
}

void ByteBpeTokenizer::encode_piece(std::string_view piece, bool continues, std::vector<int32_t>& ids) const {
  if (normalizer_.empty()) return encode_normalized(piece, continues, ids);
  const std::string normalized = normalizer_.apply(piece);
  for (const AddedTokens::Piece& part : normalized_added_.split(normalized)) {
    if (part.token >= 0) ids.push_back(normalized_added_.all()[static_cast<size_t>(part.token)].id);
    else encode_normalized(part.text, continues && part.text.data() == normalized.data(), ids);
  }
}

void ByteBpeTokenizer::encode(std::string_view text, std::vector<int32_t>& ids, bool continues) const {
  require_utf8(text);
  for (const AddedTokens::Piece& piece : plain_added_.split(text)) {
    if (piece.token >= 0) ids.push_back(plain_added_.all()[static_cast<size_t>(piece.token)].id);
    else encode_piece(piece.text, continues && piece.text.data() == text.data(), ids);
  }
}

void ByteBpeTokenizer::encode_normalized(std::string_view piece, NormalizedPlaces& places, Encoding& encoding) const {
  CharacterCounter counter(piece, places.passed);
  size_t in_front = needs_space(piece);  // bytes that the text does not have
  std::vector<int32_t> ids;
  std::vector<size_t> bytes;
  encode_measured(in_front ? std::string(1, ' ').append(piece) : std::string(piece), ids, bytes);
  for (size_t i = 0; i < ids.size(); ++i) {
    const size_t missing = std::min(in_front, bytes[i]);
    in_front -= missing;
    auto offsets = counter.take(bytes[i] - missing);
    // A token that is only the space in front has the place of the character behind it.
    if (missing == bytes[i]) ++offsets.second;
    add_token(ids[i], vocabulary_.token(ids[i]), places.original(offsets), encoding);
  }
}

void ByteBpeTokenizer::encode_piece(std::string_view piece, int32_t first, Encoding& encoding) const {
  NormalizedPlaces places(piece, first, normalizer_);
  for (const AddedTokens::Piece& part : normalized_added_.split(places.text)) {
    const auto count = static_cast<int32_t>(count_characters(part.text));
    places.passed -= part.overlap;
    if (part.token >= 0)
      add_token(normalized_added_.all()[static_cast<size_t>(part.token)].id, part.text,
                places.original({places.passed, places.passed + count}), encoding);
    else
      encode_normalized(part.text, places, encoding);
    places.passed += count;
  }
}

Encoding ByteBpeTokenizer::encode_with_offsets(std::string_view text) const {
  require(text.size() <= INT32_MAX, "a text of ", text.size(), " bytes is too long for offsets of 32 bits");
  require_utf8(text);
  Encoding encoding;
  int32_t characters = 0;  // before the piece
  for (const AddedTokens::Piece& piece : plain_added_.split(text)) {
    const int32_t begin = characters - piece.overlap;
    characters = begin + static_cast<int32_t>(count_characters(piece.text));
    if (piece.token >= 0)
      add_token(plain_added_.all()[static_cast<size_t>(piece.token)].id, piece.text, {begin, characters}, encoding);
    else
      encode_piece(piece.text, begin, encoding);
  }
  return encoding;
}

std::string ByteBpeTokenizer::decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  const std::vector<int32_t> kept = decodable(ids, skip_special_tokens);
  std::string bytes = vocabulary_.traits.has_decoder ? std::string() : joined(kept);
  if (vocabulary_.traits.has_decoder)
    for (const int32_t id : kept) bytes += token_bytes_[static_cast<size_t>(id)];
  return cleaned_up(repair_utf8(bytes));
}

TokenizerFiles ByteBpeTokenizer::made_files() const {
  return byte_bpe_files(vocabulary_, merges_, settings_, normalizer_);
}

}  // namespace engine
