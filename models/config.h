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

  int64_t inner_size() const { return ffn_size ? ffn_size : 4 * hidden_size; }
};

}  // namespace engine
