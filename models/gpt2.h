#pragma once

#include "models/config.h"

namespace engine {

struct Gpt2Options final : OptionsOf<Gpt2Options> {
  float embedding_dropout = -1;  // of embeddings; below 0: the model's dropout

  void declare(Options& options) override;
  void take_dropouts(const ArchitectureOptions& wanted, const Options& options) override;
  float rate_of_embeddings(const ModelConfig& config) const {
    return embedding_dropout < 0 ? config.dropout : embedding_dropout;
  }
};

}  // namespace engine
