#include "text/unigram_tokenizer.h"

#include <algorithm>

#include "core/error.h"
#include "text/graphemes.h"
#include "text/replace_pattern.h"
#include "text/rewrites.h"
#include "text/unicode.h"
#include "text/unigram_json.h"
#include "text/word_cache.h"

namespace engine {

namespace {

bool is_placed_space(const PlacedCharacter& placed) { return is_space(placed.character); }

void append(const std::vector<int32_t>& more, std::vector<int32_t>& ids) {
  ids.insert(ids.end(), more.begin(), more.end());
}

}  // namespace

UnigramTokenizer::UnigramTokenizer(Vocabulary vocabulary, std::vector<double> scores, Normalizer normalizer,
                                   UnigramSettings settings)
    : VocabularyTokenizer(std::move(vocabulary), normalizer),
      model_(vocabulary_, std::move(scores), settings.byte_fallback),
      normalizer_(std::move(normalizer)),
      settings_(std::move(settings)),
      chunks_(WordCache::new_owner()),
      words_(WordCache::new_owner()) {
  find_separators();
}

// Finds the bytes of white space that the normalizer leaves as white space.
void UnigramTokenizer::find_separators() {
  const bool splits = settings_.metaspace && settings_.metaspace->splits;
  in_chunks_ = normalized_added_.empty() && (settings_.drops_spaces || splits) &&
               is_local(normalizer_, settings_.drops_spaces);
  const std::u32string letter = characters_of(normalizer_.apply("a"));
  for (const char byte : {' ', '\t', '\n', '\v', '\f', '\r'}) {
    std::u32string text = characters_of(normalizer_.apply(std::string("a") + byte + "a"));
    const bool keeps_letters = text.size() > 2 * letter.size() && text.starts_with(letter) && text.ends_with(letter);
    if (!keeps_letters) continue;
    text = text.substr(letter.size(), text.size() - 2 * letter.size());
    separates_[static_cast<unsigned char>(byte)] =
        settings_.drops_spaces ? std::all_of(text.begin(), text.end(), [](char32_t c) { return is_space(c); })
                               : byte == ' ' && text == U" ";
  }
  in_chunks_ = in_chunks_ && separates_[' '];
}

const UnigramTokenizer::Spelled& UnigramTokenizer::spell(Text word, bool prefixed) const {
  thread_local Spelled spelled;
  auto& [text, tokens, ids] = spelled;
  text.clear();
  tokens.clear();
  if (prefixed) append_utf8(text, settings_.metaspace->replacement);
  for (const PlacedCharacter& placed : word) append_utf8(text, placed.character);
  WordCache& cache = WordCache::of_this_thread();
  const WordCache::Word* const known = cache.find(words_, text, text.data() + text.size());
  if (known) {
    ids.assign(known->ids, known->ids + known->count);
    size_t end = 0;
    for (const int32_t id : ids) {
      const size_t begin = end;
      end += vocabulary_.token(id).size();
      tokens.push_back({id, begin, end});
    }
    return spelled;
  }
  model_.encode(text, tokens);
  ids.clear();
  for (const UnigramModel::Token& token : tokens) ids.push_back(token.id);
  // The tokens of a known word are as long as they are spelled.
  const auto is_spelled = [&](const UnigramModel::Token& token) {
    return token.id != vocabulary_.unknown && token.end - token.begin == vocabulary_.token(token.id).size();
  };
  if (std::all_of(tokens.begin(), tokens.end(), is_spelled)) cache.keep(text, ids);
  return spelled;
}

// Adds the tokens of a word with the places of their characters.
void UnigramTokenizer::add_tokens(Text word, bool prefixed, Encoding& encoding) const {
  const auto& [text, tokens, ids] = spell(word, prefixed);
  size_t character = 0, byte = 0;  // that many characters begin before the byte
  const auto characters_before = [&, &text = text](size_t end) {
    for (; byte < end; ++byte) character += (text[byte] & 0xc0) != 0x80;
    return character;
  };
  const auto place = [&](size_t number) { return word[std::max<size_t>(number, prefixed) - prefixed]; };
  size_t first = 0, last = 0, begin = SIZE_MAX;
  for (const UnigramModel::Token& token : tokens) {
    // The bytes of unknown characters all have the same place.
    if (token.begin != begin) {
      begin = token.begin;
      first = characters_before(token.begin);
      last = characters_before(token.end) - 1;
    }
    // Offsets are trimmed by what an unknown token stands for.
    const std::string_view spelled = token.id == vocabulary_.unknown
                                         ? std::string_view(text).substr(token.begin, token.end - token.begin)
                                         : std::string_view(vocabulary_.token(token.id));
    add_token(token.id, spelled, {place(first).begin, place(last).end}, encoding);
  }
}

template <class Word>
void UnigramTokenizer::split_at_spaces(Text part, const Word& word) const {
  const Metaspace& metaspace = *settings_.metaspace;
  for (PlacedCharacter& placed : part)
    if (placed.character == U' ') placed.character = metaspace.replacement;
  const bool wants_prefix = metaspace.scheme == Metaspace::Scheme::always ||
                            (metaspace.scheme == Metaspace::Scheme::first && part[0].begin == 0);
  bool prefixed = wants_prefix && part[0].character != metaspace.replacement;
  for (size_t begin = 0, end; begin < part.size(); begin = end, prefixed = false) {
    end = metaspace.splits ? begin + 1 : part.size();
    while (end < part.size() && part[end].character != metaspace.replacement) ++end;
    word(part.subspan(begin, end - begin), prefixed);
  }
}

// Calls word(part of the text, whether a space stands in front) for each word.
template <class Word>
void UnigramTokenizer::for_each_word(Text text, const Word& word) const {
  for (size_t begin = 0, end; begin < text.size(); begin = end) {
    end = settings_.drops_spaces ? begin : text.size();
    while (end < text.size() && !is_placed_space(text[end])) ++end;
    const Text part = text.subspan(begin, end - begin);
    if (end < text.size()) ++end;
    if (part.empty()) continue;
    if (settings_.metaspace) split_at_spaces(part, word);
    else word(part, false);
  }
}

// Calls added(its piece, its place in the original) and words(text between) for the parts of a normalized piece.
template <class Added, class Words>
void UnigramTokenizer::normalize(std::string_view piece, int32_t first, const Added& added, const Words& words) const {
  thread_local std::vector<PlacedCharacter> characters;
  characters.clear();
  append_characters(piece, first, characters);
  normalizer_.apply(characters);
  if (normalized_added_.empty()) return words(Text(characters));
  const Text rest = characters;
  const std::string text = utf8_of(rest);
  size_t at = 0;
  for (const AddedTokens::Piece& one : normalized_added_.split(text)) {
    const Text part = rest.subspan(at - static_cast<size_t>(one.overlap), count_characters(one.text));
    at += part.size() - static_cast<size_t>(one.overlap);
    if (one.token < 0) words(part);
    else added(one, std::pair(part.front().begin, part.back().end));
  }
}

// Says whether a chunk ends before a byte of white space, because no character beside it belongs to it.
bool UnigramTokenizer::ends_chunk(std::string_view piece, const char* place) const {
  if (!settings_.drops_spaces && place > piece.data() && place[-1] == ' ') return false;
  const char* before = place;
  if (place > piece.data() && (place[-1] & 0x80) && prepends_grapheme(previous_character(before))) return false;
  const char* after = place + 1;
  const bool is_last = after == piece.data() + piece.size();
  return !settings_.drops_spaces || is_last || !(*after & 0x80) || !may_extend_grapheme(next_character(after));
}

// Returns the end of the chunk that begins at `place`: words end before white space if it is dropped, and a word begins
// with its spaces if not.
const char* UnigramTokenizer::chunk_end(std::string_view piece, const char* place) const {
  const char* const end = piece.data() + piece.size();
  if (!settings_.drops_spaces)
    while (place < end && *place == ' ') ++place;
  while (place < end && !(separates_[static_cast<unsigned char>(*place)] && ends_chunk(piece, place))) ++place;
  return place;
}

void UnigramTokenizer::encode_chunks(std::string_view piece, int32_t first, std::vector<int32_t>& ids) const {
  WordCache& cache = WordCache::of_this_thread();
  thread_local std::vector<int32_t> tokens;
  TokenWriter writer(ids);
  // Only the first word of a text may be spelled in its own way.
  bool is_usual = !settings_.metaspace || settings_.metaspace->scheme != Metaspace::Scheme::first;
  const char* const end = piece.data() + piece.size();
  for (const char* place = piece.data(); place < end; is_usual = true, first = std::max(first, 1)) {
    if (settings_.drops_spaces && separates_[static_cast<unsigned char>(*place)] && ends_chunk(piece, place)) {
      ++place;
      continue;
    }
    const char* const after = chunk_end(piece, place);
    const std::string_view chunk(place, static_cast<size_t>(after - place));
    place = after;
    const WordCache::Word* const known = is_usual ? cache.find(chunks_, chunk, end) : nullptr;
    if (known) {
      writer.add(*known);
    } else {
      tokens.clear();
      normalize(chunk, first, [](const AddedTokens::Piece&, std::pair<int32_t, int32_t>) {}, [&](Text text) {
        for_each_word(text, [&](Text word, bool prefixed) { append(spell(word, prefixed).ids, tokens); });
      });
      // Words were looked for since: the chunk is looked for again, so that its place is known.
      if (is_usual && !cache.find(chunks_, chunk, end)) cache.keep(chunk, tokens);
      writer.add(tokens);
    }
  }
}

void UnigramTokenizer::encode_piece(std::string_view piece, int32_t first, std::vector<int32_t>& ids) const {
  if (in_chunks_) return encode_chunks(piece, first, ids);
  normalize(
      piece, first,
      [&](const AddedTokens::Piece& one, std::pair<int32_t, int32_t>) {
        ids.push_back(normalized_added_.all()[static_cast<size_t>(one.token)].id);
      },
      [&](Text text) {
        for_each_word(text, [&](Text word, bool prefixed) { append(spell(word, prefixed).ids, ids); });
      });
}

void UnigramTokenizer::encode(std::string_view text, std::vector<int32_t>& ids, bool continues) const {
  require_utf8(text);
  for (const AddedTokens::Piece& piece : plain_added_.split(text)) {
    const bool is_first = piece.text.data() == text.data() && !continues;
    if (piece.token >= 0) ids.push_back(plain_added_.all()[static_cast<size_t>(piece.token)].id);
    else encode_piece(piece.text, is_first ? 0 : 1, ids);
  }
}

bool UnigramTokenizer::may_cut(std::string_view text, size_t at) const {
  return in_chunks_ && settings_.drops_spaces && separates_['\n'] && VocabularyTokenizer::may_cut(text, at);
}

Encoding UnigramTokenizer::encode_with_offsets(std::string_view text) const {
  require(text.size() <= INT32_MAX, "a text of ", text.size(), " bytes is too long for offsets of 32 bits");
  require_utf8(text);
  Encoding encoding;
  int32_t characters = 0;
  for (const AddedTokens::Piece& piece : plain_added_.split(text)) {
    const int32_t begin = characters - piece.overlap;
    characters = begin + static_cast<int32_t>(count_characters(piece.text));
    if (piece.token >= 0) {
      add_token(plain_added_.all()[static_cast<size_t>(piece.token)].id, piece.text, {begin, characters}, encoding);
      continue;
    }
    normalize(
        piece.text, begin,
        [&](const AddedTokens::Piece& one, std::pair<int32_t, int32_t> place) {
          add_token(normalized_added_.all()[static_cast<size_t>(one.token)].id, one.text, place, encoding);
        },
        [&](Text part) {
          for_each_word(part, [&](Text word, bool prefixed) { add_tokens(word, prefixed, encoding); });
        });
  }
  return encoding;
}

std::string UnigramTokenizer::decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  const std::vector<int32_t> kept = decodable(ids, skip_special_tokens);
  if (!vocabulary_.traits.has_decoder) return cleaned_up(joined(kept));
  std::vector<std::string> tokens;
  for (const int32_t id : kept) tokens.push_back(shown(id));
  return cleaned_up(settings_.decoder.decode(std::move(tokens)));
}

TokenizerFiles UnigramTokenizer::made_files() const {
  return unigram_files(vocabulary_, model_.scores(), normalizer_, settings_);
}

}  // namespace engine
