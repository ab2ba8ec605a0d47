// Sentences as vectors: an encoder's hidden states, pooled and normalised as a sentence-transformers folder says.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "models/architectures.h"
#include "text/tokenizer.h"
#include "training/task.h"

namespace engine {

// From modules.json, the pooling module's config.json and sentence_bert_config.json. A folder without modules.json is
// an encoder alone: the mean of its tokens. A max_seq_length takes the place of the tokenizer's own limit, as in
// sentence-transformers. What is asked for and not done here is an error that names file and key.
struct SentenceConfig {
  enum class Pooling { mean, first } pooling = Pooling::mean;
  bool normalises = false;
  bool lowers = false;     // the text is lower-cased before its tokens are looked up
  int64_t max_length = 0;  // tokens of a sentence, special ones included; longer ones are cut. 0: nothing is said
  std::filesystem::path encoder;  // the folder with the weights
};
SentenceConfig read_sentence_config(const std::filesystem::path& folder);

class SentenceEncoder {
 public:
  // Keeps the weights packed for the machine's precision. Where backends can work side by side, there is one a thread.
  SentenceEncoder(const std::filesystem::path& folder, Machine& machine);
  ~SentenceEncoder();

  int64_t width() const { return model_->config().hidden_size; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  // The tokens of a sentence, with special tokens, cut to max_length(); `cut` (optional) becomes whether it was.
  std::vector<int32_t> encode(std::string_view text, bool* cut = nullptr) const;
  int64_t max_length() const { return config_.max_length; }
  // A vector of width() floats for each sequence of tokens (at least one each), one after another.
  std::vector<float> embed(std::span<const std::vector<int32_t>> sentences);

 private:
  struct Worker;
  void add_workers();
  void embed_pass(Worker& worker, std::span<const std::vector<int32_t>> sentences, std::span<const size_t> chosen,
                  float* vectors) const;

  Machine& machine_;
  SentenceConfig config_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::vector<std::unique_ptr<Worker>> workers_;  // the first has the machine's backend and memory
};

}  // namespace engine
