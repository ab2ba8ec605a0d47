// The config keys and tensor names of RobertaModel and of XLMRobertaModel, which is the same model trained on more
// languages, and of the models that have them as their trunk. The first rows of the position table, as many as the pad
// token's id and one, belong to no position.
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "models/bert.h"
#include "models/bert_keys.h"

namespace engine {

using nlohmann::json;
using Counting = HuggingFaceFormat::Tied::Counting;

namespace {

const char* const multilingual = "xlm-roberta";
const BertKeys roberta_keys{.architecture = "roberta", .vocab_size = 50265, .pad_token = 1};
const BertKeys multilingual_keys{.architecture = "roberta", .vocab_size = 30522, .pad_token = 1};

ModelConfig read_any_config(const json& config, const std::string& where, const BertKeys& of) {
  ModelConfig result = read_bert_keys(config, where, of);
  read_frame_tokens(config, where, 0, 2, result);
  if (result.pad_token < 0)
    fail(where, ": \"pad_token_id\" should be a token of the vocabulary, because positions begin behind it");
  const int64_t unused = unused_roberta_positions(result);
  if (result.max_positions <= unused)
    fail(where, ": \"max_position_embeddings\" is ", result.max_positions, ", it should be more than ", unused,
         ", because positions begin behind \"pad_token_id\"");
  result.max_positions -= unused;
  result.own.get<RobertaOptions>().type_vocab_size = read_type_vocab_size(config, where);
  return result;
}

ModelConfig read_roberta_config(const json& config, const std::string& where) {
  return read_any_config(config, where, roberta_keys);
}

ModelConfig read_multilingual_config(const json& config, const std::string& where) {
  ModelConfig result = read_any_config(config, where, multilingual_keys);
  result.own.get<RobertaOptions>().model_type = multilingual;
  return result;
}

void write_roberta_config(const ModelConfig& config, nlohmann::ordered_json& result) {
  write_bert_keys(config, roberta_keys, config.max_positions + unused_roberta_positions(config),
                  config.own.get<RobertaOptions>().type_vocab_size, result);
}

HuggingFaceFormat format_of(const char* model_type, std::vector<HuggingFaceFormat::Class> classes) {
  return {.architecture = "roberta",
          .model_type = model_type,
          .classes = std::move(classes),
          .prefix = "roberta.",
          .names = bert_names("roberta.", {{"masked_head.dense.weight", "lm_head.dense.weight"},
                                           {"masked_head.dense.bias", "lm_head.dense.bias"},
                                           {"masked_head.norm.gain", "lm_head.layer_norm.weight"},
                                           {"masked_head.norm.bias", "lm_head.layer_norm.bias"},
                                           {"masked_head.bias", "lm_head.bias"},
                                           {"masked_head.projection.weight", "lm_head.decoder.weight"},
                                           {"masked_head.projection.bias", "lm_head.decoder.bias"},
                                           {"classifier.dense.weight", "classifier.dense.weight"},
                                           {"classifier.dense.bias", "classifier.dense.bias"},
                                           {"classifier.weight", "classifier.out_proj.weight"},
                                           {"classifier.bias", "classifier.out_proj.bias"}}),
          .tied = {{"lm_head.decoder.weight", "roberta.embeddings.word_embeddings.weight", "masked_head.bias",
                    /*unless=*/"masked_head.projection.weight"},
                   {"lm_head.decoder.bias", "lm_head.bias", "masked_head.bias", "", Counting::this_one},
                   {"lm_head.bias", "lm_head.decoder.bias", "masked_head.projection.bias", "", Counting::the_other}},
          .buffers = {"roberta.embeddings.position_ids", "roberta.embeddings.token_type_ids"},
          .read_config = read_roberta_config,
          .write_config = write_roberta_config};
}

}  // namespace

const HuggingFaceFormat& roberta_format() {
  static const HuggingFaceFormat format = [] {
    HuggingFaceFormat result = format_of("roberta", {{"RobertaModel", HeadKind::none, /*has_prefix=*/false},
                                                     {"RobertaForMaskedLM", HeadKind::masked},
                                                     {"RobertaForSequenceClassification", HeadKind::classification},
                                                     {"RobertaForQuestionAnswering", HeadKind::question_answering}});
    result.suits = [](const ModelConfig& config) { return config.own.get<RobertaOptions>().model_type == "roberta"; };
    return result;
  }();
  return format;
}

const HuggingFaceFormat& xlm_roberta_format() {
  static const HuggingFaceFormat format = [] {
    HuggingFaceFormat result =
        format_of(multilingual, {{"XLMRobertaModel", HeadKind::none, /*has_prefix=*/false},
                                 {"XLMRobertaForMaskedLM", HeadKind::masked},
                                 {"XLMRobertaForSequenceClassification", HeadKind::classification},
                                 {"XLMRobertaForQuestionAnswering", HeadKind::question_answering}});
    result.read_config = read_multilingual_config;
    return result;
  }();
  return format;
}

}  // namespace engine
