// Times byte-level BPE with GPT-2's vocabulary, WordPiece with BERT's, and Unigram with GPT-2's tokens as pieces, on
// one core. Real text lies between the two inputs: paragraphs of Wikipedia whose words are all known from the round
// before, and the list of merges, in which hardly a word comes twice. This times a tokenizer and a text of one's own:
//   TOKENIZER=folder TEXT=file build/bench/run --benchmark_filter=tokenizer_own
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "core/files.h"
#include "core/json.h"
#include "tests/temporary.h"
#include "text/tokenizer.h"

namespace engine::bench {
namespace {

constexpr const char* known_words = "tests/data/tokenizer/wikipedia.txt";
constexpr const char* new_words = "tests/data/gpt2/merges.txt";

void encode(benchmark::State& state, const Tokenizer& tokenizer, const std::string& text) {
  std::vector<int32_t> ids;
  for (auto _ : state) {
    ids.clear();
    tokenizer.encode(text, ids);
    benchmark::DoNotOptimize(ids.data());
  }
  state.SetBytesProcessed(static_cast<int64_t>(text.size()) * state.iterations());
}

void bpe(benchmark::State& state, const char* file) {
  static const std::unique_ptr<Tokenizer> tokenizer = load_tokenizer("tests/data/gpt2");
  const std::string text = read_text(file);
  if (tokenizer->decode(tokenizer->encode(text)) != text) return state.SkipWithError("the answer is wrong");
  encode(state, *tokenizer, text);
}

void wordpiece(benchmark::State& state, const char* file) {
  static const std::unique_ptr<Tokenizer> tokenizer = load_tokenizer("tests/data/bert");
  const std::string text = read_text(file);
  if (tokenizer->encode_with_offsets(text).ids != tokenizer->encode(text)) return state.SkipWithError("ids differ");
  encode(state, *tokenizer, text);
}

void wordpiece_offsets(benchmark::State& state) {
  const std::unique_ptr<Tokenizer> tokenizer = load_tokenizer("tests/data/bert");
  const std::string text = read_text(known_words);
  for (auto _ : state) benchmark::DoNotOptimize(tokenizer->encode_with_offsets(text).ids.data());
  state.SetBytesProcessed(static_cast<int64_t>(text.size()) * state.iterations());
}

// Makes a tokenizer of XLM-R's kind, with the normalizer of a small one. Its pieces are GPT-2's tokens of ASCII
// characters. A token's score falls with its rank, and no two tokens together have a better score than one.
std::unique_ptr<Tokenizer> make_unigram() {
  nlohmann::json file = parse_json_file("tests/data/tokenizer/unigram.json")["bases"]["base"];
  nlohmann::json pieces = nlohmann::json::array(), specials = nlohmann::json::array();
  for (size_t i = 0; i < 4; ++i) {
    pieces.push_back(file["model"]["vocab"][i]);
    specials.push_back(file["added_tokens"][i]);
  }
  const std::unique_ptr<Tokenizer> gpt2 = load_tokenizer("tests/data/gpt2");
  const std::string space = "\u0120", begins_word = "\u2581";
  for (int32_t id = 0; id < gpt2->vocab_size(); ++id) {
    std::string piece = gpt2->token(id);
    if (piece.starts_with(space)) piece.replace(0, space.size(), begins_word);
    const bool begins = piece.starts_with(begins_word);
    const std::string rest = piece.substr(begins ? begins_word.size() : 0);
    if (gpt2->is_special(id) || std::any_of(rest.begin(), rest.end(), [](char c) { return (c & 0x80) != 0; })) continue;
    pieces.push_back({piece, -std::log(256.0 + id)});
  }
  pieces.push_back({space, -11.0});  // the list of merges has it
  file["model"]["vocab"] = std::move(pieces);
  file["added_tokens"] = std::move(specials);
  const test::TemporaryFolder folder;
  write_file(folder.path() / "tokenizer.json", file.dump());
  write_file(folder.path() / "tokenizer_config.json", R"({"tokenizer_class": "XLMRobertaTokenizer"})");
  return load_tokenizer(folder.path());
}

void unigram(benchmark::State& state, const char* file) {
  static const std::unique_ptr<Tokenizer> tokenizer = make_unigram();
  const std::string text = read_text(file);
  if (tokenizer->encode_with_offsets(text).ids != tokenizer->encode(text)) return state.SkipWithError("ids differ");
  encode(state, *tokenizer, text);
}

void tokenizer_own(benchmark::State& state) {
  const std::unique_ptr<Tokenizer> tokenizer = load_tokenizer(std::getenv("TOKENIZER"));
  encode(state, *tokenizer, read_text(std::getenv("TEXT")));
}

void tokenizer_encode_known_words(benchmark::State& state) { bpe(state, known_words); }
void tokenizer_encode_new_words(benchmark::State& state) { bpe(state, new_words); }
void tokenizer_wordpiece_known_words(benchmark::State& state) { wordpiece(state, known_words); }
void tokenizer_wordpiece_new_words(benchmark::State& state) { wordpiece(state, new_words); }
void tokenizer_unigram_known_words(benchmark::State& state) { unigram(state, known_words); }
void tokenizer_unigram_new_words(benchmark::State& state) { unigram(state, new_words); }
void tokenizer_wordpiece_offsets(benchmark::State& state) { wordpiece_offsets(state); }

BENCHMARK(tokenizer_encode_known_words);
BENCHMARK(tokenizer_encode_new_words);
BENCHMARK(tokenizer_wordpiece_known_words);
BENCHMARK(tokenizer_wordpiece_new_words);
BENCHMARK(tokenizer_wordpiece_offsets);
BENCHMARK(tokenizer_unigram_known_words);
BENCHMARK(tokenizer_unigram_new_words);
[[maybe_unused]] const auto* const own =
    std::getenv("TOKENIZER") && std::getenv("TEXT") ? benchmark::RegisterBenchmark("tokenizer_own", tokenizer_own)
                                                    : nullptr;

}  // namespace
}  // namespace engine::bench
