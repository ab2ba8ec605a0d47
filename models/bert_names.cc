// The config keys and tensor names of BertModel and of the models that have it as their trunk.
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "models/bert.h"
#include "models/huggingface_format.h"

namespace engine {

using nlohmann::json;

namespace {

// Keys that are absent have the values that the transformers library's BertConfig gives them.
ModelConfig read_config(const json& config, const std::string& where) {
  ModelConfig result;
  result.architecture = "bert";
  result.hidden_size = json_integer(config, "hidden_size", where, 1, most_width, 768);
  result.num_layers = json_integer(config, "num_hidden_layers", where, 1, most_layers, 12);
  result.num_heads = json_integer(config, "num_attention_heads", where, 1, most_width, 12);
  result.ffn_size = json_integer(config, "intermediate_size", where, 1, most_inner, 3072);
  result.vocab_size = json_integer(config, "vocab_size", where, 1, most_rows, 30522);
  result.max_positions = json_integer(config, "max_position_embeddings", where, 1, most_rows, 512);
  result.own.get<BertOptions>().type_vocab_size = json_integer(config, "type_vocab_size", where, 1, most_rows, 2);
  result.activation = activation_from_huggingface(json_string(config, "hidden_act", where, "gelu"), where);
  result.dropout = dropout_from_huggingface(config, "hidden_dropout_prob", where, 0.1);
  result.attention_dropout = dropout_from_huggingface(config, "attention_probs_dropout_prob", where, 0.1);
  result.classifier_dropout = dropout_from_huggingface(config, "classifier_dropout", where, decimal(result.dropout));
  result.layer_norm_epsilon = epsilon_from_huggingface(config, "layer_norm_eps", where, 1e-12);
  result.initializer_range = initializer_range_from_huggingface(config, where);
  result.pad_token = token_from_huggingface(config, "pad_token_id", where, result.vocab_size, 0);
  result.labels = labels_from_huggingface(config, where);
  result.pooler = true;
  const std::string positions = json_string(config, "position_embedding_type", where, "absolute");
  if (positions != "absolute")
    fail(where, ": \"position_embedding_type\" is \"", positions.substr(0, 60), "\", it should be \"absolute\"");
  require_option(config, "is_decoder", false, where);
  require_option(config, "add_cross_attention", false, where);
  return result;
}

void write_config(const ModelConfig& config, nlohmann::ordered_json& result) {
  result["hidden_size"] = config.hidden_size;
  result["num_hidden_layers"] = config.num_layers;
  result["num_attention_heads"] = config.num_heads;
  result["intermediate_size"] = config.inner_size();
  result["vocab_size"] = config.vocab_size;
  result["max_position_embeddings"] = config.max_positions;
  result["type_vocab_size"] = config.own.get<BertOptions>().type_vocab_size;
  result["hidden_act"] = activation_to_huggingface(config.activation);
  result["hidden_dropout_prob"] = decimal(config.dropout);
  result["attention_probs_dropout_prob"] = decimal(config.attention_dropout);
  result["classifier_dropout"] = decimal(config.classifier_dropout);
  result["layer_norm_eps"] = decimal(config.layer_norm_epsilon);
  result["initializer_range"] = decimal(config.initializer_range);
  result["tie_word_embeddings"] = true;
  labels_to_huggingface(config, result);
}

}  // namespace

const HuggingFaceFormat& bert_format() {
  static const HuggingFaceFormat format = {
      .architecture = "bert",
      .model_type = "bert",
      .classes = {{"BertModel", HeadKind::none, /*has_prefix=*/false},
                  {"BertForMaskedLM", HeadKind::masked},
                  {"BertForPreTraining", HeadKind::masked},
                  {"BertForSequenceClassification", HeadKind::classification},
                  {"BertForQuestionAnswering", HeadKind::question_answering}},
      .prefix = "bert.",
      .names = {{"embedding.tokens", "bert.embeddings.word_embeddings.weight"},
                {"embedding.positions", "bert.embeddings.position_embeddings.weight"},
                {"embedding.types", "bert.embeddings.token_type_embeddings.weight"},
                {"embedding.norm.gain", "bert.embeddings.LayerNorm.weight"},
                {"embedding.norm.bias", "bert.embeddings.LayerNorm.bias"},
                {"layers.*.attention.qkv.weight", "bert.encoder.layer.*.attention.self.query.weight", false, 0, 3},
                {"layers.*.attention.qkv.weight", "bert.encoder.layer.*.attention.self.key.weight", false, 1, 3},
                {"layers.*.attention.qkv.weight", "bert.encoder.layer.*.attention.self.value.weight", false, 2, 3},
                {"layers.*.attention.qkv.bias", "bert.encoder.layer.*.attention.self.query.bias", false, 0, 3},
                {"layers.*.attention.qkv.bias", "bert.encoder.layer.*.attention.self.key.bias", false, 1, 3},
                {"layers.*.attention.qkv.bias", "bert.encoder.layer.*.attention.self.value.bias", false, 2, 3},
                {"layers.*.attention.output.weight", "bert.encoder.layer.*.attention.output.dense.weight"},
                {"layers.*.attention.output.bias", "bert.encoder.layer.*.attention.output.dense.bias"},
                {"layers.*.norm1.gain", "bert.encoder.layer.*.attention.output.LayerNorm.weight"},
                {"layers.*.norm1.bias", "bert.encoder.layer.*.attention.output.LayerNorm.bias"},
                {"layers.*.feed_forward.up.weight", "bert.encoder.layer.*.intermediate.dense.weight"},
                {"layers.*.feed_forward.up.bias", "bert.encoder.layer.*.intermediate.dense.bias"},
                {"layers.*.feed_forward.down.weight", "bert.encoder.layer.*.output.dense.weight"},
                {"layers.*.feed_forward.down.bias", "bert.encoder.layer.*.output.dense.bias"},
                {"layers.*.norm2.gain", "bert.encoder.layer.*.output.LayerNorm.weight"},
                {"layers.*.norm2.bias", "bert.encoder.layer.*.output.LayerNorm.bias"},
                {"pooler.weight", "bert.pooler.dense.weight"},
                {"pooler.bias", "bert.pooler.dense.bias"},
                {"masked_head.dense.weight", "cls.predictions.transform.dense.weight"},
                {"masked_head.dense.bias", "cls.predictions.transform.dense.bias"},
                {"masked_head.norm.gain", "cls.predictions.transform.LayerNorm.weight"},
                {"masked_head.norm.bias", "cls.predictions.transform.LayerNorm.bias"},
                {"masked_head.bias", "cls.predictions.bias"},
                {"classifier.weight", "classifier.weight"},
                {"classifier.bias", "classifier.bias"},
                {"qa_outputs.weight", "qa_outputs.weight"},
                {"qa_outputs.bias", "qa_outputs.bias"}},
      .tied = {{"cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight", "masked_head.bias"},
               {"cls.predictions.decoder.bias", "cls.predictions.bias", "masked_head.bias"}},
      .buffers = {"bert.embeddings.position_ids", "bert.embeddings.token_type_ids"},
      .read_config = read_config,
      .write_config = write_config};
  return format;
}

}  // namespace engine
