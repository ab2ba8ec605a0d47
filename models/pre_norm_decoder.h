// A pre-layernorm decoder, which is GPT-2 or GPT-NeoX by its style.
//   r = drop(token embedding [+ position embedding]);  the blocks of a PreNormStack over r;  h = ln(r)
// The logits are products of h with the token embedding, or with a table of their own.
#pragma once

#include <memory>
#include <string>

#include "models/model.h"

namespace engine {

struct PreNormDecoderStyle {
  std::string positions = "learned";  // or rotary, sinusoidal, random (positions.h)
  bool is_parallel = false;       // blocks whose attention and feed-forward read the same stream
  bool attention_bias = true;
  bool is_tied = true;            // the token embedding projects to the logits
  float embedding_dropout = 0;
};

std::unique_ptr<Model> make_pre_norm_decoder(const ModelConfig& config, const PreNormDecoderStyle& style);

}  // namespace engine
