#include "text/tokenizer_class.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"

namespace engine {

using nlohmann::json;

namespace {

#include "text/tokenizer_classes.inc"

constexpr char whole_file_class[] = "TokenizersBackend";

// Turns "BertTokenizerFast" into "BertTokenizer".
std::string_view without_fast(std::string_view name) {
  if (name.ends_with("TokenizerFast")) name.remove_suffix(4);
  return name;
}

std::string text_of(const json& object, const char* key, const std::string& where) {
  return object.is_null() ? std::string() : json_string(object, key, where, "");
}

// Returns the class of a model_type, or nothing.
std::string_view class_of_model(std::string_view model) {
  const auto* const end = std::end(classes_of_models);
  const auto* const found =
      std::find_if(std::begin(classes_of_models), end, [&](const auto& one) { return one.first == model; });
  return found == end ? std::string_view() : found->second;
}

TokenizerClass kind_of(std::string_view name) {
  const auto* const end = std::end(known_classes);
  const auto* const found =
      std::find_if(std::begin(known_classes), end, [&](const auto& one) { return one.first == name; });
  return found == end ? TokenizerClass::whole_file : found->second;
}

}  // namespace

ClassOfFolder class_of_folder(const json& tokenizer_config, const json& config, const std::string& folder) {
  const std::string own = text_of(tokenizer_config, "tokenizer_class", folder + "/tokenizer_config.json");
  const std::string named = own.empty() ? text_of(config, "tokenizer_class", folder + "/config.json") : own;
  const std::string_view usual = class_of_model(text_of(config, "model_type", folder + "/config.json"));
  ClassOfFolder result;
  result.name = without_fast(named.empty() ? usual : named);
  if (usual == whole_file_class && !result.name.empty()) result.name = usual;
  result.kind = kind_of(result.name);
  if (result.kind == TokenizerClass::other)
    fail(folder, named.empty() ? "/config.json: the tokenizer of this \"model_type\" is a \""
                 : own.empty() ? "/config.json: \"tokenizer_class\" is \""
                               : "/tokenizer_config.json: \"tokenizer_class\" is \"",
         result.name.substr(0, 60), "\", which is not supported: the tokenizers of BERT, DistilBERT, GPT-2, RoBERTa, ",
         "BART, GPT-NeoX, XLM-RoBERTa, ALBERT, T5 and RemBERT are, and PreTrainedTokenizerFast with a tokenizer.json");
  return result;
}

bool gives_token_types(TokenizerClass kind) {
  return kind == TokenizerClass::bert || kind == TokenizerClass::rembert;
}

}  // namespace engine
