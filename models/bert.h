#pragma once

#include "models/config.h"

namespace engine {

struct BertOptions final : OptionsOf<BertOptions> {
  int64_t type_vocab_size = 2;  // token types, of first and second text

  void declare(Options&) override {}
};

struct RobertaOptions final : OptionsOf<RobertaOptions> {
  int64_t type_vocab_size = 1;
  std::string model_type = "roberta";  // its format on disk, or "xlm-roberta"

  void declare(Options& options) override;
  void check() const override;
};

struct RemBertOptions final : OptionsOf<RemBertOptions> {
  int64_t type_vocab_size = 2;
  int64_t input_embedding_size = 0;   // width of the embeddings; 0: C
  int64_t output_embedding_size = 0;  // width of what scores masked tokens; 0: C

  int64_t input_size(const ModelConfig& config) const {
    return input_embedding_size ? input_embedding_size : config.hidden_size;
  }
  int64_t output_size(const ModelConfig& config) const {
    return output_embedding_size ? output_embedding_size : config.hidden_size;
  }
  void declare(Options& options) override;
  void check() const override;
  void write_out(const ModelConfig& config) override {
    input_embedding_size = input_size(config);
    output_embedding_size = output_size(config);
  }
};

// Counts the first rows of a RoBERTa's position table, which belong to no position: as many as the pad token's id, and
// one.
inline int64_t unused_roberta_positions(const ModelConfig& config) { return int64_t{config.pad_token} + 1; }

}  // namespace engine
