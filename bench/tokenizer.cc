// Times byte-level BPE with GPT-2's vocabulary and WordPiece with BERT's, on one core. Real text lies between the two
// inputs: paragraphs of Wikipedia whose words are all known from the round before, and the list of merges, in which
// hardly a word comes twice.
#include <benchmark/benchmark.h>

#include "core/files.h"
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

void tokenizer_encode_known_words(benchmark::State& state) { bpe(state, known_words); }
void tokenizer_encode_new_words(benchmark::State& state) { bpe(state, new_words); }
void tokenizer_wordpiece_known_words(benchmark::State& state) { wordpiece(state, known_words); }
void tokenizer_wordpiece_new_words(benchmark::State& state) { wordpiece(state, new_words); }
void tokenizer_wordpiece_offsets(benchmark::State& state) { wordpiece_offsets(state); }

BENCHMARK(tokenizer_encode_known_words);
BENCHMARK(tokenizer_encode_new_words);
BENCHMARK(tokenizer_wordpiece_known_words);
BENCHMARK(tokenizer_wordpiece_new_words);
BENCHMARK(tokenizer_wordpiece_offsets);

}  // namespace
}  // namespace engine::bench
