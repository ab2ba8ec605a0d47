// A decoder and its tokenizer as one thing: what the commands generate and score need, whatever task trained it.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "models/architectures.h"
#include "text/tokenizer.h"
#include "training/task.h"

namespace engine {

// The model that a command's DIR names: the best of a run folder, else its last, or a model folder itself.
struct OpenedRun {
  std::filesystem::path model;
  std::filesystem::path config;  // the run's task.cfg; may be empty
};
OpenedRun open_run(const std::filesystem::path& folder);
bool has_tokenizer(const std::filesystem::path& folder);  // whether the files of one are in it
// The tokenizer of such a folder, or of one that holds a tokenizer's files alone.
std::unique_ptr<Tokenizer> open_tokenizer(const std::filesystem::path& folder);

struct LanguageModel {
  std::unique_ptr<Model> model;
  std::unique_ptr<Tokenizer> tokenizer;
  std::string report;  // says which tensors of the folder were left out; empty: none
};
// From a model folder.
LanguageModel load_language_model(const std::filesystem::path& folder, Memory& memory, bool with_gradients = false);
// An error if the folder's tokenizer has more tokens than its model.
void require_vocabulary(const std::filesystem::path& folder, const Tokenizer& tokenizer, const Model& model);
void save_language_model(const std::filesystem::path& folder, Model& model, const Tokenizer& tokenizer,
                         const std::string& dtype = "F32");

// The tokens that generation goes on from. Where the vocabulary has <start> (arithmetic), it ends the prompt: what
// follows it is the answer. An empty prompt is the start of a document: the token that begins or else that ends one.
std::vector<int32_t> encode_prompt(const Tokenizer& tokenizer, std::string_view text);

// The tokens at which generation stops: the model's, or else the tokenizer's.
std::vector<int32_t> end_tokens_of(const Model& model, const Tokenizer& tokenizer);

// How likely a sequence's tokens are, but for the first, which nothing precedes.
struct Score {
  int64_t tokens = 0;         // of the sequence, the first included
  double log_likelihood = 0;  // natural; 0 where fewer than two tokens
  std::vector<float> log_probabilities;  // of each scored token, natural: their sum is the log likelihood
  std::vector<int32_t> ranks;            // the rank of each among the logits, 1: the top
  double perplexity() const;  // exp(-log_likelihood / scored tokens); 1 where none is scored
};
// The longest sequence that score takes: one token more than the model has positions, since the last is only predicted.
int64_t most_scored_tokens(const Model& model);
// Sequences may be empty; one that is too long is an Error that gives its index.
std::vector<Score> score(Machine& machine, Model& model, std::span<const std::vector<int32_t>> sequences);

}  // namespace engine
