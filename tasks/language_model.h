// A LanguageModel is a decoder with its tokenizer, as the commands generate and score need it, whatever task trained
// it.
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

// A command's DIR names a model, which is the best of a run folder, else its last, or a model folder itself.
struct OpenedRun {
  std::filesystem::path model;
  std::filesystem::path config;  // the run's task.cfg, may be empty
};
OpenedRun open_run(const std::filesystem::path& folder);
bool has_tokenizer(const std::filesystem::path& folder);  // whether it holds a tokenizer's files
// Opens the tokenizer of such a folder, or of one that holds a tokenizer's files alone.
std::unique_ptr<Tokenizer> open_tokenizer(const std::filesystem::path& folder);

struct LanguageModel {
  std::unique_ptr<Model> model;
  std::unique_ptr<Tokenizer> tokenizer;
};
// Loads both from a model folder.
LanguageModel load_language_model(const std::filesystem::path& folder, Memory& memory, bool with_gradients = false);
// Throws an Error if the folder's tokenizer has more tokens than its model.
void require_vocabulary(const std::filesystem::path& folder, const Tokenizer& tokenizer, const Model& model);
void save_language_model(const std::filesystem::path& folder, Model& model, const Tokenizer& tokenizer,
                         const std::string& dtype = "F32");

// Returns the tokens that generation goes on from. Where the vocabulary has <start> (arithmetic), it ends the prompt,
// and the answer follows it. An empty prompt is the start of a document, the token that begins or else that ends one.
std::vector<int32_t> encode_prompt(const Tokenizer& tokenizer, std::string_view text);

// Holds the likelihoods of a sequence's tokens, except for the first, which nothing precedes.
struct Score {
  int64_t tokens = 0;         // tokens of the sequence, the first included
  double log_likelihood = 0;  // natural; 0 with fewer than two tokens
  std::vector<float> log_probabilities;  // natural, of each scored token; they sum to log_likelihood
  std::vector<int32_t> ranks;            // rank of each among the logits, 1: the top
  double perplexity() const;  // exp(-log_likelihood / scored tokens); 1 where none is scored
};
// Returns the longest sequence that score takes. It has one token more than the model has positions, since the last is
// only predicted.
int64_t most_scored_tokens(const Model& model);
// Sequences may be empty. One that is too long is an Error that gives its index.
std::vector<Score> score(Machine& machine, Model& model, std::span<const std::vector<int32_t>> sequences);

}  // namespace engine
