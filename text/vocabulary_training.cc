#include "text/vocabulary_training.h"

#include <algorithm>
#include <map>

#include "core/error.h"
#include "text/bert_words.h"
#include "text/byte_bpe.h"
#include "text/gpt2_words.h"
#include "text/merge_training.h"
#include "text/unicode.h"
#include "text/wordpiece.h"

namespace engine {

namespace {

constexpr const char* bert_special[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
constexpr const char* gpt2_special = "<|endoftext|>";

size_t wanted_size(const VocabularyOptions& options, size_t begun) {
  if (options.vocab_size < static_cast<int64_t>(begun))
    fail_usage("a vocabulary of ", options.vocab_size, " tokens has no room for the special tokens and characters, ",
               begun, " in all: it should have more");
  return static_cast<size_t>(options.vocab_size);
}

// Returns the most frequent characters of the words, in the order of their code points.
std::vector<char32_t> alphabet_of(const std::map<std::u32string, int64_t>& words, int64_t most) {
  std::map<char32_t, int64_t> counts;
  for (const auto& [word, count] : words)
    for (const char32_t character : word) counts[character] += count;
  std::vector<std::pair<int64_t, char32_t>> ranked;  // ties: the lower code point first
  for (const auto& [character, count] : counts) ranked.emplace_back(-count, character);
  std::sort(ranked.begin(), ranked.end());
  if (static_cast<int64_t>(ranked.size()) > most) ranked.resize(static_cast<size_t>(most));
  std::vector<char32_t> alphabet;
  for (const auto& [count, character] : ranked) alphabet.push_back(character);
  std::sort(alphabet.begin(), alphabet.end());
  return alphabet;
}

std::string spelled(std::string_view prefix, char32_t character) {
  std::string token(prefix);
  append_utf8(token, character);
  return token;
}

}  // namespace

VocabularyTrainer::VocabularyTrainer(Kind kind, const VocabularyOptions& options) : kind_(kind), options_(options) {
  if (kind == Kind::wordpiece) normalizer_ = Normalizer::bert(true, true, options.lowercase, options.lowercase);
}

void VocabularyTrainer::count(Counts& counts, std::string_view word, int64_t times) {
  const auto known = counts.find(word);
  if (known != counts.end()) known->second += times;
  else counts.emplace(word, times);
}

void VocabularyTrainer::add(std::string_view text) {
  require_utf8(text);
  const BertChunks chunks(normalizer_);
  const char* const end = text.data() + text.size();
  for (const char *place = text.data(), *after; place < end; place = after) {
    if (kind_ == Kind::bpe) after = gpt2_word_end(place, end);
    else after = chunks.kind(*place) == BertChunks::Kind::inside ? chunks.end_of(place, end) : place + 1;
    count(counts_, {place, static_cast<size_t>(after - place)}, 1);
  }
}

std::unique_ptr<Tokenizer> VocabularyTrainer::train() const {
  return kind_ == Kind::bpe ? train_bpe() : train_wordpiece();
}

std::unique_ptr<Tokenizer> VocabularyTrainer::train_wordpiece() const {
  const WordPieceSettings settings;
  std::map<std::u32string, int64_t> counts;
  std::vector<PlacedCharacter> characters;
  for (const auto& [chunk, times] : counts_) {
    characters.clear();
    append_characters(chunk, 0, characters);
    normalizer_.apply(characters);
    for_each_bert_word(characters, [&, times = times](std::span<const PlacedCharacter> word) {
      if (static_cast<int64_t>(word.size()) > settings.longest_word) return;  // stays unknown
      std::u32string letters;
      for (const PlacedCharacter& placed : word) letters += placed.character;
      counts[letters] += times;
    });
  }

  std::vector<std::string> tokens(std::begin(bert_special), std::end(bert_special));
  std::map<char32_t, int32_t> first_ids, later_ids;
  for (const char32_t character : alphabet_of(counts, options_.most_characters)) {
    first_ids[character] = static_cast<int32_t>(tokens.size());
    tokens.push_back(spelled("", character));
  }
  const auto is_spelled = [&](const std::u32string& word) {
    return std::all_of(word.begin(), word.end(), [&](char32_t character) { return first_ids.contains(character); });
  };
  for (const auto& [word, times] : counts)
    if (is_spelled(word))
      for (size_t i = 1; i < word.size(); ++i) later_ids[word[i]] = 0;
  for (auto& [character, id] : later_ids) {
    id = static_cast<int32_t>(tokens.size());
    tokens.push_back(spelled(settings.prefix, character));
  }

  std::vector<CountedWord> words;
  for (const auto& [word, times] : counts) {
    if (!is_spelled(word)) continue;
    CountedWord& counted = words.emplace_back(CountedWord{{first_ids[word[0]]}, times});
    for (size_t i = 1; i < word.size(); ++i) counted.tokens.push_back(later_ids[word[i]]);
  }
  train_merges(std::move(words), tokens,
               {wanted_size(options_, tokens.size()), options_.min_frequency, settings.prefix});

  Vocabulary vocabulary(std::move(tokens));
  for (const char* token : bert_special) vocabulary.add_special(token);
  for (const auto& [key, id] : {std::pair{"pad_token", 0}, {"unk_token", 1}, {"sep_token", 3}, {"cls_token", 2},
                                {"mask_token", 4}})
    vocabulary.name(key, id);
  vocabulary.unknown = 1;
  vocabulary.framing = Framing::bert(vocabulary.classifier, vocabulary.separator);
  return std::make_unique<WordPieceTokenizer>(std::move(vocabulary), normalizer_, settings);
}

std::unique_ptr<Tokenizer> VocabularyTrainer::train_bpe() const {
  std::vector<std::string> tokens{gpt2_special};
  std::vector<char32_t> characters(byte_characters().begin(), byte_characters().end());
  std::sort(characters.begin(), characters.end());
  std::map<char32_t, int32_t> ids;
  for (const char32_t character : characters) {
    ids[character] = static_cast<int32_t>(tokens.size());
    tokens.push_back(spelled("", character));
  }
  std::vector<CountedWord> words;
  for (const auto& [word, times] : counts_) {
    CountedWord& counted = words.emplace_back(CountedWord{{}, times});
    for (const char byte : word) counted.tokens.push_back(ids[byte_characters()[static_cast<unsigned char>(byte)]]);
  }
  const auto merges =
      train_merges(std::move(words), tokens, {wanted_size(options_, tokens.size()), options_.min_frequency, ""});

  Vocabulary vocabulary(std::move(tokens));
  vocabulary.add_special(gpt2_special);
  for (const char* key : {"eos_token", "bos_token"}) vocabulary.name(key, 0);
  vocabulary.traits.token_types = false;
  return std::make_unique<ByteBpeTokenizer>(std::move(vocabulary), BpeMerges(merges), ByteBpeSettings{});
}

}  // namespace engine
