// Byte-level BPE with GPT-2's vocabulary, on one core. Real text lies between the two: paragraphs of Wikipedia whose
// words are all known from the round before, and the list of merges, hardly a word of which comes twice.
#include <benchmark/benchmark.h>

#include "core/files.h"
#include "text/tokenizer.h"

namespace engine::bench {
namespace {

void encode(benchmark::State& state, const char* file) {
  static const std::unique_ptr<Tokenizer> tokenizer = load_tokenizer("tests/data/gpt2");
  const std::string text = read_text(file);
  std::vector<int32_t> ids = tokenizer->encode(text);
  if (ids.empty() || tokenizer->decode(ids) != text) return state.SkipWithError("the answer is wrong");
  for (auto _ : state) {
    ids.clear();
    tokenizer->encode(text, ids);
    benchmark::DoNotOptimize(ids.data());
  }
  state.SetBytesProcessed(static_cast<int64_t>(text.size()) * state.iterations());
}

void tokenizer_encode_known_words(benchmark::State& state) { encode(state, "tests/data/tokenizer/wikipedia.txt"); }
void tokenizer_encode_new_words(benchmark::State& state) { encode(state, "tests/data/gpt2/merges.txt"); }

BENCHMARK(tokenizer_encode_known_words);
BENCHMARK(tokenizer_encode_new_words);

}  // namespace
}  // namespace engine::bench
