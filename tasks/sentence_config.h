// The files of a sentence-transformers folder that say how a sentence becomes a vector.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace engine {

// Comes from modules.json, the modules' config.json, sentence_bert_config.json and
// config_sentence_transformers.json. A folder without modules.json is an encoder alone: the mean of its tokens. A key
// that changes vectors in a way that is not done here is an Error that names file and key.
struct SentenceConfig {
  enum class Pooling { mean, mean_sqrt, weighted_mean, max, first, last };
  std::vector<Pooling> poolings{Pooling::mean};  // their vectors stand side by side
  bool includes_prompt = true;  // pooling reads the prompt's tokens, too
  // A dense layer behind pooling, or a norm.
  struct Module {
    std::filesystem::path dense;  // the file of its weights; empty: vectors are normalised
    int64_t inputs = 0, outputs = 0;
    bool has_bias = true, has_residual = false;
    std::string activation;  // (models/layers.h); empty: none
  };
  std::vector<Module> modules;
  bool lowers = false;        // the tokenizer's normalizer begins with lower case
  int64_t max_length = 0;     // tokens of a sentence, special ones included; longer ones are truncated. 0: no limit
  int64_t truncated_width = 0;  // numbers of a vector that are kept; 0: all
  std::string prompt;             // stands before every sentence
  std::filesystem::path encoder;  // the folder with the weights
};
SentenceConfig read_sentence_config(const std::filesystem::path& folder);

}  // namespace engine
