// A decoder and its tokenizer as one thing, as the commands generate and score need it, whatever task trained it.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "models/architectures.h"
#include "models/generation.h"
#include "text/tokenizer.h"
#include "training/task.h"

namespace engine {

// A command's DIR names a model, which is the best of a run folder, else its last, or a model folder itself.
struct OpenedRun {
  std::filesystem::path model;
  std::filesystem::path config;  // the run's task.cfg, may be empty
};
OpenedRun open_run(const std::filesystem::path& folder);
bool has_tokenizer(const std::filesystem::path& folder);
// The tokenizer of such a folder, or of one that holds a tokenizer's files alone.
std::unique_ptr<Tokenizer> open_tokenizer(const std::filesystem::path& folder);

struct LanguageModel {
  std::unique_ptr<Model> model;
  std::unique_ptr<Tokenizer> tokenizer;
  std::string report;  // says which tensors of the folder were left out; empty: none
};
// Loads both from a model folder, to be read by passes in this precision.
LanguageModel load_language_model(const std::filesystem::path& folder, Memory& memory, DType precision);
// Throws an Error if the folder's tokenizer has more tokens than its model.
void require_vocabulary(const std::filesystem::path& folder, const Tokenizer& tokenizer, const Model& model);
void save_language_model(const std::filesystem::path& folder, Model& model, const Tokenizer& tokenizer,
                         const std::string& dtype = "F32");

// The tokens that a decoder goes on from. Where the vocabulary has <start> (arithmetic), it ends the prompt and the
// answer follows it. An empty prompt is the start of a document: the token that begins one, or else that ends one.
std::vector<int32_t> encode_prompt(const Tokenizer& tokenizer, std::string_view text);
// Refuses a section's empty sample_prompt where such a vocabulary gives it nothing to begin with.
void require_prompt(const Tokenizer& tokenizer, const std::string& prompt, const std::string& section);
// The tokens that the encoder of an encoder-decoder reads of a text: those of the text with the tokenizer's special
// tokens around it, and an end token where it has none at its end. The decoder begins with decoder_start.
std::vector<int32_t> encode_source(const Tokenizer& tokenizer, std::string_view text);
std::vector<int32_t> decoder_start(const Model& model);

// Throws a UsageError where [generation] is for another kind of model.
void check_generation(const GenerationConfig& generation, const Model& model);
// Returns the tokens at which generation stops, the model's, or else the tokenizer's.
std::vector<int32_t> end_tokens_of(const Model& model, const Tokenizer& tokenizer);
// Returns the options of [generation], checked, with the tokens at which it stops and those that a model's config.json
// forces.
GenerationOptions generation_options(const GenerationConfig& generation, const Model& model,
                                     const Tokenizer& tokenizer, uint64_t seed);

// The likelihood of a sequence's tokens, without the first, which nothing precedes.
struct Score {
  int64_t tokens = 0;                    // the first included
  double log_likelihood = 0;             // natural logarithm
  std::vector<float> log_probabilities;  // each scored token's, natural
  std::vector<int32_t> ranks;            // each among its logits, 1 the top
  // exp(-log_likelihood / scored tokens), and 1 where none is scored.
  double perplexity() const;
};
// The longest sequence that score takes has one token more than the model has positions, since the last is only
// predicted.
int64_t most_scored_tokens(const Model& model);
// Sequences may be empty. One that is too long is an Error that gives its index.
std::vector<Score> score(Machine& machine, Model& model, std::span<const std::vector<int32_t>> sequences);

}  // namespace engine
