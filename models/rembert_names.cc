// The config keys and tensor names of RemBertModel and of the models that have it as their trunk.
#include <nlohmann/json.hpp>

#include "core/json.h"
#include "models/bert.h"
#include "models/bert_keys.h"

namespace engine {

using nlohmann::json;

namespace {

const BertKeys rembert_keys{.architecture = "rembert",
                            .vocab_size = 250300,
                            .hidden_size = 1152,
                            .num_layers = 32,
                            .num_heads = 18,
                            .ffn_size = 4608,
                            .dropout = 0,
                            .classifier_dropout = "classifier_dropout_prob",
                            .classifier_dropout_rate = 0.1};

ModelConfig read_rembert_config(const json& config, const std::string& where) {
  ModelConfig result = read_bert_keys(config, where, rembert_keys);
  read_frame_tokens(config, where, 312, 313, result);
  auto& own = result.own.get<RemBertOptions>();
  own.type_vocab_size = read_type_vocab_size(config, where);
  own.input_embedding_size = json_integer(config, "input_embedding_size", where, 1, most_width, 256);
  own.output_embedding_size = json_integer(config, "output_embedding_size", where, 1, most_width, 1664);
  return result;
}

void write_rembert_config(const ModelConfig& config, nlohmann::ordered_json& result) {
  const auto& own = config.own.get<RemBertOptions>();
  write_bert_keys(config, rembert_keys, config.max_positions, own.type_vocab_size, result);
  result["input_embedding_size"] = own.input_size(config);
  result["output_embedding_size"] = own.output_size(config);
}

}  // namespace

const HuggingFaceFormat& rembert_format() {
  static const HuggingFaceFormat format = {
      .architecture = "rembert",
      .model_type = "rembert",
      .classes = {{"RemBertModel", HeadKind::none, /*has_prefix=*/false},
                  {"RemBertForMaskedLM", HeadKind::masked},
                  {"RemBertForSequenceClassification", HeadKind::classification},
                  {"RemBertForQuestionAnswering", HeadKind::question_answering}},
      .prefix = "rembert.",
      .names = bert_names("rembert.",
                          {{"embedding.mapping.weight", "rembert.encoder.embedding_hidden_mapping_in.weight"},
                           {"embedding.mapping.bias", "rembert.encoder.embedding_hidden_mapping_in.bias"},
                           {"masked_head.dense.weight", "cls.predictions.dense.weight"},
                           {"masked_head.dense.bias", "cls.predictions.dense.bias"},
                           {"masked_head.norm.gain", "cls.predictions.LayerNorm.weight"},
                           {"masked_head.norm.bias", "cls.predictions.LayerNorm.bias"},
                           {"masked_head.projection.weight", "cls.predictions.decoder.weight"},
                           {"masked_head.projection.bias", "cls.predictions.decoder.bias"},
                           {"classifier.weight", "classifier.weight"},
                           {"classifier.bias", "classifier.bias"}}),
      .buffers = {"rembert.embeddings.position_ids"},
      .read_config = read_rembert_config,
      .write_config = write_rembert_config};
  return format;
}

}  // namespace engine
