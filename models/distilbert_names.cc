// The config keys and tensor names of DistilBertModel and of the models that have it as their trunk.
#include <nlohmann/json.hpp>

#include "core/json.h"
#include "models/huggingface_format.h"

namespace engine {

using nlohmann::json;

namespace {

// Keys that are absent have the values that the transformers library's DistilBertConfig gives them. Whether positions
// began as sinusoids does not matter: they are in the file.
ModelConfig read_distilbert_config(const json& config, const std::string& where) {
  ModelConfig result;
  result.architecture = "distilbert";
  result.hidden_size = json_integer(config, "dim", where, 1, most_width, 768);
  result.num_layers = json_integer(config, "n_layers", where, 1, most_layers, 6);
  result.num_heads = json_integer(config, "n_heads", where, 1, most_width, 12);
  result.ffn_size = json_integer(config, "hidden_dim", where, 1, most_inner, 3072);
  result.vocab_size = json_integer(config, "vocab_size", where, 1, most_rows, 30522);
  result.max_positions = json_integer(config, "max_position_embeddings", where, 1, most_rows, 512);
  result.activation = activation_from_huggingface(json_string(config, "activation", where, "gelu"), where);
  result.dropout = dropout_from_huggingface(config, "dropout", where, 0.1);
  result.attention_dropout = dropout_from_huggingface(config, "attention_dropout", where, 0.1);
  result.classifier_dropout = dropout_from_huggingface(config, "seq_classif_dropout", where, 0.2);
  result.span_dropout = dropout_from_huggingface(config, "qa_dropout", where, 0.1);
  result.layer_norm_epsilon = 1e-12f;
  result.initializer_range = initializer_range_from_huggingface(config, where);
  result.pad_token = token_from_huggingface(config, "pad_token_id", where, result.vocab_size, 0);
  result.labels = labels_from_huggingface(config, where);
  return result;
}

void write_distilbert_config(const ModelConfig& config, nlohmann::ordered_json& result) {
  result["dim"] = config.hidden_size;
  result["n_layers"] = config.num_layers;
  result["n_heads"] = config.num_heads;
  result["hidden_dim"] = config.inner_size();
  result["vocab_size"] = config.vocab_size;
  result["max_position_embeddings"] = config.max_positions;
  result["activation"] = activation_to_huggingface(config.activation);
  result["dropout"] = decimal(config.dropout);
  result["attention_dropout"] = decimal(config.attention_dropout);
  result["seq_classif_dropout"] = decimal(config.classifier_dropout);
  result["qa_dropout"] = decimal(config.span_dropout);
  result["initializer_range"] = decimal(config.initializer_range);
  result["sinusoidal_pos_embds"] = false;
  labels_to_huggingface(config, result);
}

}  // namespace

const HuggingFaceFormat& distilbert_format() {
  static const HuggingFaceFormat format = {
      .architecture = "distilbert",
      .model_type = "distilbert",
      .classes = {{"DistilBertModel", HeadKind::none, /*has_prefix=*/false},
                  {"DistilBertForMaskedLM", HeadKind::masked},
                  {"DistilBertForSequenceClassification", HeadKind::classification},
                  {"DistilBertForQuestionAnswering", HeadKind::question_answering}},
      .prefix = "distilbert.",
      .names = with_span_names(
          {{"embedding.tokens", "distilbert.embeddings.word_embeddings.weight"},
           {"embedding.positions", "distilbert.embeddings.position_embeddings.weight"},
           {"embedding.norm.gain", "distilbert.embeddings.LayerNorm.weight"},
           {"embedding.norm.bias", "distilbert.embeddings.LayerNorm.bias"},
           {"layers.*.attention.qkv.weight", "distilbert.transformer.layer.*.attention.q_lin.weight", false, 0, 3},
           {"layers.*.attention.qkv.weight", "distilbert.transformer.layer.*.attention.k_lin.weight", false, 1, 3},
           {"layers.*.attention.qkv.weight", "distilbert.transformer.layer.*.attention.v_lin.weight", false, 2, 3},
           {"layers.*.attention.qkv.bias", "distilbert.transformer.layer.*.attention.q_lin.bias", false, 0, 3},
           {"layers.*.attention.qkv.bias", "distilbert.transformer.layer.*.attention.k_lin.bias", false, 1, 3},
           {"layers.*.attention.qkv.bias", "distilbert.transformer.layer.*.attention.v_lin.bias", false, 2, 3},
           {"layers.*.attention.output.weight", "distilbert.transformer.layer.*.attention.out_lin.weight"},
           {"layers.*.attention.output.bias", "distilbert.transformer.layer.*.attention.out_lin.bias"},
           {"layers.*.norm1.gain", "distilbert.transformer.layer.*.sa_layer_norm.weight"},
           {"layers.*.norm1.bias", "distilbert.transformer.layer.*.sa_layer_norm.bias"},
           {"layers.*.feed_forward.up.weight", "distilbert.transformer.layer.*.ffn.lin1.weight"},
           {"layers.*.feed_forward.up.bias", "distilbert.transformer.layer.*.ffn.lin1.bias"},
           {"layers.*.feed_forward.down.weight", "distilbert.transformer.layer.*.ffn.lin2.weight"},
           {"layers.*.feed_forward.down.bias", "distilbert.transformer.layer.*.ffn.lin2.bias"},
           {"layers.*.norm2.gain", "distilbert.transformer.layer.*.output_layer_norm.weight"},
           {"layers.*.norm2.bias", "distilbert.transformer.layer.*.output_layer_norm.bias"},
           {"masked_head.dense.weight", "vocab_transform.weight"},
           {"masked_head.dense.bias", "vocab_transform.bias"},
           {"masked_head.norm.gain", "vocab_layer_norm.weight"},
           {"masked_head.norm.bias", "vocab_layer_norm.bias"},
           {"masked_head.bias", "vocab_projector.bias"},
           {"masked_head.projection.weight", "vocab_projector.weight"},
           {"masked_head.projection.bias", "vocab_projector.bias"},
           {"pooler.weight", "pre_classifier.weight"},
           {"pooler.bias", "pre_classifier.bias"},
           {"classifier.weight", "classifier.weight"},
           {"classifier.bias", "classifier.bias"}}),
      .general_keys = {{"hidden_size", "dim"}, {"num_hidden_layers", "n_layers"}, {"num_attention_heads", "n_heads"}},
      .tied = {{"vocab_projector.weight", "distilbert.embeddings.word_embeddings.weight", "masked_head.bias",
                /*unless=*/"masked_head.projection.weight"}},
      .buffers = {"distilbert.embeddings.position_ids"},
      .read_config = read_distilbert_config,
      .write_config = write_distilbert_config};
  return format;
}

}  // namespace engine
