// What a model is made of, whatever its architecture; a model folder's config.json holds the same under its
// architecture's Hugging Face names (see huggingface.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace engine {

// Bounds of a model's sizes: their products stay within an int64, and no configuration makes endless tables.
inline constexpr int64_t most_width = 1 << 20, most_inner = 1 << 23, most_layers = 1024, most_rows = INT32_MAX;

enum class Head { none, masked, classification };  // what an encoder predicts: nothing, masked tokens, a class

struct ModelConfig {
  // An activation that is left to the architecture; so are an epsilon of 0 and a classifier_dropout below 0.
  static constexpr const char* open_activation = "auto";

  std::string architecture = "gpt2";
  int64_t hidden_size = 256;    // C
  int64_t num_layers = 4;       // L
  int64_t num_heads = 8;        // H
  int64_t ffn_size = 0;         // F; 0: 4 C
  int64_t vocab_size = 0;       // V; 0: the tokenizer's
  int64_t max_positions = 1024;
  std::string activation = "gelu_tanh";
  float dropout = 0;            // of embeddings and of what is added to the residual stream
  float attention_dropout = 0;  // of attention probabilities
  float layer_norm_epsilon = 1e-5f;
  float initializer_range = 0.02f;
  int32_t bos_token = -1, eos_token = -1, pad_token = -1;  // -1: none

  // Of encoders:
  Head head = Head::none;
  int64_t type_vocab_size = 0;           // token types (first and second text); 0: none
  bool pooler = false;                   // a dense layer with tanh on the first row, without a head of its own
  float classifier_dropout = 0;          // of what the classifier reads
  std::vector<std::string> labels;       // names of the classes
  bool doubled_position_angles = false;  // sinusoidal positions with 10000^(4i/C) for 10000^(2i/C)

  // Of encoder-decoders:
  int64_t decoder_layers = 0;        // 0: num_layers, which are the encoder's
  std::string positions = "learned";  // what is added to the tokens' embeddings: learned, sinusoidal or none
  std::string relative_positions = "none";  // tables in self attention: none, shared (by keys and values), separate
  int64_t relative_distances = 64;   // that they tell apart each way; farther ones count as the farthest
  bool scale_embedding = false;      // tokens' embeddings times the root of C
  int32_t decoder_start_token = -1;  // what every target begins with
  int32_t forced_bos_token = -1, forced_eos_token = -1;  // what generation puts first, and last at its limit
  std::vector<float> output_bias;    // [V], added to the logits and not trained; empty: none

  int64_t most_layers_of_a_side() const { return decoder_layers > num_layers ? decoder_layers : num_layers; }
  int64_t decoder_size() const { return decoder_layers ? decoder_layers : num_layers; }
  int64_t inner_size() const { return ffn_size ? ffn_size : 4 * hidden_size; }
};

// The same with nothing left open: the activation and the epsilon that the architecture is known for, the classifier's
// dropout that of the model, and BERT's two token types. Makers of models do this.
ModelConfig closed(ModelConfig config);
// A configuration that leaves all of these open.
ModelConfig open_model();

}  // namespace engine
