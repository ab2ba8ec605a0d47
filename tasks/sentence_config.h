// The files of a sentence-transformers folder that say how a sentence becomes a vector.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace engine {

// Comes from modules.json, the pooling module's config.json, sentence_bert_config.json and
// config_sentence_transformers.json. A folder without modules.json is an encoder alone: the mean of its tokens. A key
// that changes vectors in a way that is not done here is an Error that names file and key.
struct SentenceConfig {
  enum class Pooling { mean, mean_sqrt, first, last };
  Pooling pooling = Pooling::mean;
  bool includes_prompt = true;  // pooling reads the prompt's tokens, too
  bool normalises = false;
  bool lowers = false;        // the tokenizer's normalizer begins with lower case
  int64_t max_length = 0;     // tokens of a sentence, special ones included; longer ones are truncated. 0: no limit
  int64_t truncated_width = 0;  // numbers of a vector that are kept; 0: all
  std::string prompt;             // stands before every sentence
  std::filesystem::path encoder;  // the folder with the weights
};
SentenceConfig read_sentence_config(const std::filesystem::path& folder);

}  // namespace engine
