#include "text/wordpiece.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "text/tokenizer_json.h"
#include "text/unicode.h"
#include "text/word_cache.h"

namespace engine {

namespace {

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (size_t place = 0; (place = text.find(from, place)) != std::string::npos; place += to.size())
    text.replace(place, from.size(), to);
  return text;
}

// Cleans up a token with the space before it, as the reference's decoder does.
std::string cleaned(std::string token) {
  constexpr std::pair<const char*, const char*> replacements[] = {
      {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},   {" n't", "n't"},
      {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : replacements) token = replaced(std::move(token), from, to);
  return token;
}

}  // namespace

WordPieceTokenizer::WordPieceTokenizer(Vocabulary vocabulary, Normalizer normalizer, WordPieceSettings settings)
    : VocabularyTokenizer(std::move(vocabulary), normalizer),
      normalizer_(std::move(normalizer)),
      settings_(std::move(settings)),
      chunks_(normalizer_),
      trie_(vocabulary_),
      continuing_(trie_.walk(settings_.prefix)),
      instance_(WordCache::new_owner()) {
  require(vocabulary_.unknown >= 0, "a WordPiece vocabulary should have an unknown token ([UNK])");
  for (char32_t byte = 0; byte < 128; ++byte) {
    if (chunks_.kind(static_cast<char>(byte)) != BertChunks::Kind::punctuation) continue;
    Encoding encoding;
    const PlacedCharacter word{byte, 0, 1};
    encode_word({&word, 1}, encoding);
    byte_ids_[byte] = encoding.ids[0];
  }
}

void WordPieceTokenizer::encode_word(std::span<const PlacedCharacter> word, Encoding& encoding) const {
  const size_t tokens_before = encoding.ids.size();
  size_t begin = 0;
  while (begin < word.size() && static_cast<int64_t>(word.size()) <= settings_.longest_word) {
    int32_t longest = -1;
    size_t end = begin;
    int32_t node = begin == 0 ? TokenTrie::root : continuing_;
    for (size_t i = begin; i < word.size() && node >= 0; ++i) {
      node = trie_.child(node, word[i].character);
      if (node < 0 || trie_.token(node) < 0) continue;
      longest = trie_.token(node);
      end = i + 1;
    }
    if (longest < 0) break;
    add_token(longest, vocabulary_.token(longest), {word[begin].begin, word[end - 1].end}, encoding);
    begin = end;
  }
  if (begin == word.size()) return;
  encoding.ids.resize(tokens_before);
  encoding.offsets.resize(tokens_before);
  add_token(vocabulary_.unknown, vocabulary_.token(vocabulary_.unknown), {word.front().begin, word.back().end},
            encoding);
}

void WordPieceTokenizer::encode_words(std::span<const PlacedCharacter> text, Encoding& encoding) const {
  for_each_bert_word(text, [&](std::span<const PlacedCharacter> word) { encode_word(word, encoding); });
}

void WordPieceTokenizer::encode_chunk(std::string_view chunk, int32_t first, Encoding& encoding) const {
  thread_local std::vector<PlacedCharacter> characters;
  characters.clear();
  append_characters(chunk, first, characters);
  normalizer_.apply(characters);
  if (normalized_added_.empty()) return encode_words(characters, encoding);
  const std::span<const PlacedCharacter> rest = characters;
  const std::string text = utf8_of(rest);
  size_t at = 0;
  for (const AddedTokens::Piece& piece : normalized_added_.split(text)) {
    const auto part = rest.subspan(at - static_cast<size_t>(piece.overlap), count_characters(piece.text));
    at += part.size() - static_cast<size_t>(piece.overlap);
    if (piece.token < 0) {
      encode_words(part, encoding);
    } else {
      add_token(normalized_added_.all()[static_cast<size_t>(piece.token)].id, piece.text,
                {part.front().begin, part.back().end}, encoding);
    }
  }
}

void WordPieceTokenizer::encode_piece(std::string_view piece, std::vector<int32_t>& ids) const {
  thread_local Encoding encoding;
  const auto clear = [&] {
    encoding.ids.clear();
    encoding.offsets.clear();
  };
  const char* const end = piece.data() + piece.size();
  if (!normalized_added_.empty()) {
    clear();
    encode_chunk(piece, 0, encoding);
    ids.insert(ids.end(), encoding.ids.begin(), encoding.ids.end());
    return;
  }
  WordCache& cache = WordCache::of_this_thread();
  TokenWriter writer(ids);
  for (const char* place = piece.data(); place < end;) {
    const BertChunks::Kind kind = chunks_.kind(*place);
    if (kind != BertChunks::Kind::inside) {
      writer.add(byte_ids_[static_cast<unsigned char>(*place)], kind == BertChunks::Kind::punctuation);
      ++place;
    } else {
      const char* const after = chunks_.end_of(place, end);
      const std::string_view chunk(place, static_cast<size_t>(after - place));
      place = after;
      if (const WordCache::Word* known = cache.find(instance_, chunk, end)) {
        writer.add(*known);
      } else {
        clear();
        encode_chunk(chunk, 0, encoding);
        cache.keep(chunk, encoding.ids);
        writer.add(encoding.ids);
      }
    }
  }
}

void WordPieceTokenizer::encode_piece(std::string_view piece, int32_t first, Encoding& encoding) const {
  const char* const end = piece.data() + piece.size();
  if (!normalized_added_.empty()) return encode_chunk(piece, first, encoding);
  for (const char* place = piece.data(); place < end;) {
    const BertChunks::Kind kind = chunks_.kind(*place);
    if (kind == BertChunks::Kind::inside) {
      const char* const after = chunks_.end_of(place, end);
      const std::string_view chunk(place, static_cast<size_t>(after - place));
      encode_chunk(chunk, first, encoding);
      first += static_cast<int32_t>(count_characters(chunk));
      place = after;
      continue;
    }
    if (kind == BertChunks::Kind::punctuation) {
      const int32_t id = byte_ids_[static_cast<unsigned char>(*place)];
      add_token(id, vocabulary_.token(id), {first, first + 1}, encoding);
    }
    ++first;
    ++place;
  }
}

void WordPieceTokenizer::encode(std::string_view text, std::vector<int32_t>& ids) const {
  require_utf8(text);
  for (const AddedTokens::Piece& piece : plain_added_.split(text)) {
    if (piece.token >= 0) ids.push_back(plain_added_.all()[static_cast<size_t>(piece.token)].id);
    else encode_piece(piece.text, ids);
  }
}

Encoding WordPieceTokenizer::encode_with_offsets(std::string_view text) const {
  require(text.size() <= INT32_MAX, "a text of ", text.size(), " bytes is too long for offsets of 32 bits");
  require_utf8(text);
  Encoding encoding;
  int32_t characters = 0;
  for (const AddedTokens::Piece& piece : plain_added_.split(text)) {
    const auto count = static_cast<int32_t>(count_characters(piece.text));
    characters -= piece.overlap;
    if (piece.token >= 0) {
      add_token(plain_added_.all()[static_cast<size_t>(piece.token)].id, piece.text, {characters, characters + count},
                encoding);
    } else {
      encode_piece(piece.text, characters, encoding);
    }
    characters += count;
  }
  return encoding;
}

std::string WordPieceTokenizer::decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  const std::vector<int32_t> kept = decodable(ids, skip_special_tokens);
  if (!vocabulary_.traits.has_decoder) return cleaned_up(joined(kept));
  std::string text;
  for (size_t i = 0; i < kept.size(); ++i) {
    std::string token = shown(kept[i]);
    if (i > 0) {
      const std::string& prefix = settings_.decoder_prefix;
      const bool continues = !prefix.empty() && token.starts_with(prefix);
      token = continues ? token.substr(prefix.size()) : " " + token;
    }
    text += settings_.cleanup ? cleaned(std::move(token)) : token;
  }
  return cleaned_up(std::move(text));
}

TokenizerFiles WordPieceTokenizer::made_files() const { return wordpiece_files(vocabulary_, normalizer_, settings_); }

}  // namespace engine
