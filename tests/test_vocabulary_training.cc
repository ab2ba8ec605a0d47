// Trained vocabularies: merges against counting all pairs anew each time, and against the reference implementation.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "core/random.h"
#include "tests/temporary.h"
#include "text/merge_training.h"
#include "text/vocabulary_training.h"

namespace engine::test::test_vocabulary_training {

namespace {

using Ids = std::vector<int32_t>;
using Kind = VocabularyTrainer::Kind;

std::string sample() { return read_text("tests/data/tokenizer/wikipedia.txt"); }

std::unique_ptr<Tokenizer> trained(Kind kind, const std::string& text, const VocabularyOptions& options) {
  VocabularyTrainer trainer(kind, options);
  trainer.add(text);
  return trainer.train();
}

// Counts all pairs of all words before each merge.
std::vector<BpeMerges::Merge> naive_merges(std::vector<CountedWord> words, std::vector<std::string>& vocabulary,
                                           const MergeTraining& training) {
  std::vector<BpeMerges::Merge> merges;
  while (vocabulary.size() < training.vocab_size) {
    std::map<std::pair<int32_t, int32_t>, int64_t> counts;
    for (const CountedWord& word : words)
      for (size_t i = 0; i + 1 < word.tokens.size(); ++i) counts[{word.tokens[i], word.tokens[i + 1]}] += word.count;
    std::pair<int32_t, int32_t> best;
    int64_t most = 0;
    for (const auto& [pair, count] : counts)  // the map's order settles ties
      if (count > most) most = count, best = pair;
    if (most < training.min_frequency) break;
    std::string second = vocabulary[static_cast<size_t>(best.second)];
    if (second.starts_with(training.prefix)) second.erase(0, training.prefix.size());
    const std::string token = vocabulary[static_cast<size_t>(best.first)] + second;
    const auto known = std::find(vocabulary.begin(), vocabulary.end(), token);
    const auto id = static_cast<int32_t>(known - vocabulary.begin());
    if (known == vocabulary.end()) vocabulary.push_back(token);
    for (CountedWord& word : words)
      for (size_t i = 0; i + 1 < word.tokens.size(); ++i)
        if (word.tokens[i] == best.first && word.tokens[i + 1] == best.second) {
          word.tokens[i] = id;
          word.tokens.erase(word.tokens.begin() + static_cast<std::ptrdiff_t>(i) + 1);
        }
    merges.push_back({best.first, best.second, id});
  }
  return merges;
}

}  // namespace

TEST_CASE("vocabulary training: merges are those of counting everything anew") {
  Random random(21, 0);
  size_t compared = 0;
  for (int round = 0; round < 60; ++round) {
    const bool has_prefix = round % 2;
    const uint32_t letters = 1 + random.below(4);
    std::vector<std::string> begun;
    for (uint32_t i = 0; i < letters; ++i) begun.push_back(std::string(1, static_cast<char>('a' + i)));
    for (uint32_t i = 0; i < letters && has_prefix; ++i) begun.push_back("##" + begun[i]);
    std::vector<CountedWord> words(1 + random.below(12));
    for (CountedWord& word : words) {
      word.count = 1 + random.below(4);
      for (uint32_t i = random.below(12); i > 0; --i)
        word.tokens.push_back(
            static_cast<int32_t>(random.below(letters) + (has_prefix && !word.tokens.empty() ? letters : 0)));
    }
    const MergeTraining training{.vocab_size = begun.size() + random.below(40),
                                 .min_frequency = 1 + random.below(3),
                                 .prefix = has_prefix ? "##" : ""};
    std::vector<std::string> expected_vocabulary = begun, vocabulary = begun;
    const auto expected = naive_merges(words, expected_vocabulary, training);
    const auto merges = train_merges(words, vocabulary, training);
    CHECK(vocabulary == expected_vocabulary);
    REQUIRE(merges.size() == expected.size());
    for (size_t i = 0; i < merges.size(); ++i) {
      CHECK(merges[i].left == expected[i].left);
      CHECK(merges[i].right == expected[i].right);
      CHECK(merges[i].result == expected[i].result);
    }
    compared += merges.size();
  }
  CHECK(compared > 300);
}

TEST_CASE("vocabulary training: of pairs that come equally often the one with the lower ids is merged") {
  std::vector<std::string> vocabulary = {"a", "b", "c"};
  const auto merges = train_merges({{{2, 1}, 5}, {{1, 2}, 5}, {{1, 0}, 5}}, vocabulary, {5, 2, ""});
  REQUIRE(merges.size() == 2);
  CHECK(vocabulary == std::vector<std::string>{"a", "b", "c", "ba", "bc"});
}

TEST_CASE("vocabulary training: byte-level merges are the reference's") {
  const auto tokenizer = trained(Kind::bpe, sample(), {.vocab_size = 1000});
  const TemporaryFolder folder;
  tokenizer->save(folder.path());
  std::string expected = "#version: 0.2\n";
  const nlohmann::json cases = parse_json_file("tests/data/tokenizer/wordpiece_cases.json");
  for (const std::string merge : cases["trained_merges"]) expected += merge + "\n";
  CHECK(read_text(folder.path() / "merges.txt") == expected);
  CHECK(tokenizer->vocab_size() == 1000);
  CHECK(tokenizer->end_token() == 0);
  const Ids ids = tokenizer->encode(sample() + "<|endoftext|>\u4e16");
  CHECK(tokenizer->decode(ids) == sample() + "<|endoftext|>\u4e16");
  CHECK(load_tokenizer(folder.path())->encode(sample() + "<|endoftext|>\u4e16") == ids);
}

TEST_CASE("vocabulary training: WordPiece knows every word of its text") {
  const std::string text = sample() + " \u00c9t\u00e9 \u4e16\u754c na\u00efve \U0001f600";
  for (const bool lowercase : {true, false}) {
    CAPTURE(lowercase);
    const auto tokenizer = trained(Kind::wordpiece, text, {.vocab_size = 2000, .lowercase = lowercase});
    CHECK(tokenizer->vocab_size() == 2000);
    CHECK(tokenizer->pad_token() == 0);
    CHECK(tokenizer->mask_token() == 4);
    const Ids ids = tokenizer->encode(text);
    CHECK(std::count(ids.begin(), ids.end(), 1) == 0);
    CHECK(ids.size() < text.size() / 3);
    CHECK(tokenizer->id_of("the").has_value());
    CHECK(tokenizer->id_of("\u00c9").has_value() == !lowercase);
    CHECK(encode_framed(*tokenizer, "the").ids == Ids{2, *tokenizer->id_of("the"), 3});
    const TemporaryFolder folder;
    tokenizer->save(folder.path());
    CHECK(load_tokenizer(folder.path())->encode(text) == ids);
    std::filesystem::remove(folder.path() / "tokenizer.json");
    CHECK(load_tokenizer(folder.path())->encode(text) == ids);
  }
}

TEST_CASE("vocabulary training: the order and the cutting of texts do not matter") {
  for (const Kind kind : {Kind::wordpiece, Kind::bpe}) {
    VocabularyTrainer once(kind, {.vocab_size = 600}), pieces(kind, {.vocab_size = 600});
    const std::string text = sample();
    const size_t cut = text.find('\n', text.size() / 2) + 1;
    once.add(text);
    pieces.add(std::string_view(text).substr(cut));
    pieces.add(std::string_view(text).substr(0, cut));
    CHECK(once.train()->digest() == pieces.train()->digest());
  }
}

TEST_CASE("vocabulary training: limits") {
  // min_frequency: "ab" comes twice, "cd" once.
  const auto rare = trained(Kind::wordpiece, "ab ab cd", {.vocab_size = 100});
  CHECK(rare->id_of("ab").has_value());
  CHECK_FALSE(rare->id_of("cd").has_value());
  CHECK(rare->vocab_size() == 12);  // 5 special, a b c d, ##b ##d, ab
  CHECK(trained(Kind::wordpiece, "ab ab cd", {.vocab_size = 100, .min_frequency = 1})->id_of("cd").has_value());
  // most_characters leaves out the rare c and d. The word of them is unknown.
  const auto few = trained(Kind::wordpiece, "ab ab cd", {.vocab_size = 100, .most_characters = 2});
  CHECK(few->encode("ab cd") == Ids{*few->id_of("ab"), 1});
  // A word that the tokenizer would not split leaves no tokens.
  CHECK(trained(Kind::wordpiece, std::string(101, 'x') + " ab", {.vocab_size = 100})->vocab_size() == 8);
  CHECK_THROWS_WITH_AS(trained(Kind::wordpiece, "ab ab cd", {.vocab_size = 10}),
                       doctest::Contains("no room for the special tokens and characters, 11 in all"), UsageError);
  CHECK_THROWS_WITH_AS(trained(Kind::bpe, "ab", {.vocab_size = 256}), doctest::Contains("257 in all"), UsageError);
  CHECK_THROWS_WITH_AS(trained(Kind::bpe, "ab\xff", {}), doctest::Contains("at byte 2"), Error);
}

}  // namespace engine::test::test_vocabulary_training
