// Turns sentences into vectors: an encoder's hidden states, pooled and normalised as a sentence-transformers folder
// says.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "models/architectures.h"
#include "tasks/sentence_config.h"
#include "tasks/sentence_modules.h"
#include "text/tokenizer.h"
#include "training/task.h"

namespace engine {

class SentenceEncoder {
 public:
  // Keeps the weights packed for the machine's precision. If backends can work side by side, there is one a thread.
  SentenceEncoder(const std::filesystem::path& folder, Machine& machine);
  ~SentenceEncoder();

  int64_t width() const;  // numbers of a vector
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  // Returns the tokens of a sentence, with the folder's prompt and special tokens, truncated to max_length(). `cut`
  // (optional) becomes whether they were truncated.
  std::vector<int32_t> encode(std::string_view text, bool* cut = nullptr) const;
  int64_t max_length() const { return config_.max_length; }
  // Returns a vector of width() floats for each sequence of tokens (at least one each), one after another.
  std::vector<float> embed(std::span<const std::vector<int32_t>> sentences);

 private:
  struct Worker;
  void add_workers();
  // Returns how many first tokens of each sequence pooling leaves out.
  size_t count_prompt_tokens() const;
  // Returns a row a sequence.
  std::vector<float> pool(Worker& worker, const Tensor& hidden, const std::vector<int32_t>& offsets,
                          SentenceConfig::Pooling mode) const;
  void embed_pass(Worker& worker, std::span<const std::vector<int32_t>> sentences, std::span<const size_t> chosen,
                  float* vectors) const;

  Machine& machine_;
  SentenceConfig config_;
  size_t prompt_tokens_ = 0;  // left out of pooling
  std::unique_ptr<Model> model_;
  std::unique_ptr<SentenceModules> modules_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::vector<std::unique_ptr<Worker>> workers_;  // the first has the machine's backend and memory
};

}  // namespace engine
