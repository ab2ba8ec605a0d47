// The config keys and tensor names of BertModel and of the models that have it as their trunk.
#include <nlohmann/json.hpp>

#include "models/bert.h"
#include "models/bert_keys.h"

namespace engine {

using nlohmann::json;
using Counting = HuggingFaceFormat::Tied::Counting;

namespace {

const BertKeys bert_keys{.architecture = "bert", .vocab_size = 30522};

ModelConfig read_bert_config(const json& config, const std::string& where) {
  ModelConfig result = read_bert_keys(config, where, bert_keys);
  result.own.get<BertOptions>().type_vocab_size = read_type_vocab_size(config, where);
  return result;
}

void write_bert_config(const ModelConfig& config, nlohmann::ordered_json& result) {
  write_bert_keys(config, bert_keys, config.max_positions, config.own.get<BertOptions>().type_vocab_size, result);
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
      .names = bert_names("bert.",
               {{"masked_head.dense.weight", "cls.predictions.transform.dense.weight"},
                {"masked_head.dense.bias", "cls.predictions.transform.dense.bias"},
                {"masked_head.norm.gain", "cls.predictions.transform.LayerNorm.weight"},
                {"masked_head.norm.bias", "cls.predictions.transform.LayerNorm.bias"},
                {"masked_head.bias", "cls.predictions.bias"},
                {"masked_head.projection.weight", "cls.predictions.decoder.weight"},
                {"masked_head.projection.bias", "cls.predictions.decoder.bias"},
                {"classifier.weight", "classifier.weight"},
                {"classifier.bias", "classifier.bias"}}),
      .tied = {{"cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight", "masked_head.bias",
                /*unless=*/"masked_head.projection.weight"},
               {"cls.predictions.decoder.bias", "cls.predictions.bias", "masked_head.bias", "", Counting::this_one},
               {"cls.predictions.bias", "cls.predictions.decoder.bias", "masked_head.projection.bias", "",
                Counting::the_other}},
      .buffers = {"bert.embeddings.position_ids", "bert.embeddings.token_type_ids"},
      .read_config = read_bert_config,
      .write_config = write_bert_config};
  return format;
}

}  // namespace engine
