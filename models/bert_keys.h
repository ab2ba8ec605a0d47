// BERT, RoBERTa and RemBERT share most keys of config.json and most names of the trunk's tensors.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "models/huggingface_format.h"

namespace engine {

// The values that the transformers library gives to keys which are absent.
struct BertKeys {
  const char* architecture;
  int64_t vocab_size, hidden_size = 768, num_layers = 12, num_heads = 12, ffn_size = 3072;
  double dropout = 0.1;
  int32_t pad_token = 0;
  const char* classifier_dropout = "classifier_dropout";  // the key's name
  double classifier_dropout_rate = -1;                    // below 0: that of the model
};

// Reads the shared keys. max_positions is the number of rows of the position table.
ModelConfig read_bert_keys(const nlohmann::json& config, const std::string& where, const BertKeys& keys);
int64_t read_type_vocab_size(const nlohmann::json& config, const std::string& where);
// Reads the tokens that begin and end a text. A tokenizer's framing says the same, so they are kept to be saved alone.
void read_frame_tokens(const nlohmann::json& config, const std::string& where, int32_t begin, int32_t end,
                       ModelConfig& result);
// Writes the shared keys. position_rows is the number of rows of the position table.
void write_bert_keys(const ModelConfig& config, const BertKeys& keys, int64_t position_rows, int64_t type_vocab_size,
                     nlohmann::ordered_json& result);

// Names the tensors of the trunk, of its pooler, `prefix` being "bert.", and of the head that answers questions, and
// adds those of the other heads.
std::vector<TensorNames> bert_names(const std::string& prefix, const std::vector<TensorNames>& head);

}  // namespace engine
