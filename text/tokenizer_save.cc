// tokenizer.json and tokenizer_config.json, written so that AutoTokenizer gives the ids that we give. tokenizer.json
// has all that changes ids, and the class named in tokenizer_config.json reads it as it stands.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "text/score_numbers.h"
#include "text/tokenizer_json.h"
#include "text/unigram_json.h"

namespace engine {

using nlohmann::ordered_json;

namespace {

std::string json_text(std::string_view text) { return ordered_json(text).dump(); }

// Writes the model's tokens as a JSON object, in the order of the ids. An ordered object of the library would compare
// each new key with all before it.
std::string vocab_json(const Vocabulary& vocabulary) {
  std::string text = "{";
  for (int32_t id = 0; id < vocabulary.size(); ++id)
    if (vocabulary.is_in_model(id))
      text += (text.size() > 1 ? ", " : "") + json_text(vocabulary.token(id)) + ": " + std::to_string(id);
  return text + "}";
}

// Writes the model's tokens as lines of a vocab.txt. Returns nothing if lines cannot hold them, because of gaps or
// white space.
std::string vocab_lines(const Vocabulary& vocabulary) {
  std::string lines;
  bool ended = false;
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    if (!vocabulary.is_in_model(id)) {
      ended = true;
      continue;
    }
    const std::string& token = vocabulary.token(id);
    if (ended || token.find_first_of(" \t\r\n") != std::string::npos) return {};
    lines += token + "\n";
  }
  return lines;
}

std::string merge_text(const Vocabulary& vocabulary, const BpeMerges::Merge& merge) {
  return vocabulary.token(merge.left) + " " + vocabulary.token(merge.right);
}

// Writes the whole tokenizer.json. `model` is its last member, already written.
std::string tokenizer_json(const Vocabulary& vocabulary, const ordered_json& pre_tokenizer,
                           const ordered_json& post_processor, const ordered_json& decoder, const std::string& model,
                           const ordered_json& normalizer = nullptr) {
  ordered_json added = ordered_json::array();
  std::vector<AddedToken> tokens = vocabulary.added().all();
  std::sort(tokens.begin(), tokens.end(), [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  for (const AddedToken& token : tokens)
    added.push_back({{"id", token.id},
                     {"content", token.content},
                     {"single_word", token.single_word},
                     {"lstrip", token.strip_left},
                     {"rstrip", token.strip_right},
                     {"normalized", token.normalized},
                     {"special", token.special}});
  const ordered_json rest = {{"version", "1.0"},
                             {"truncation", nullptr},
                             {"padding", nullptr},
                             {"added_tokens", added},
                             {"normalizer", normalizer},
                             {"pre_tokenizer", pre_tokenizer},
                             {"post_processor", post_processor},
                             {"decoder", vocabulary.traits.has_decoder ? decoder : nullptr}};
  std::string text = rest.dump(2);
  text.resize(text.size() - 2);  // "\n}"
  return text + ",\n  \"model\": " + model + "\n}\n";
}

// Makes tokenizer_config.json. Without model_input_names a GPT-2 would get token types, and add embeddings for them.
ordered_json config(const Vocabulary& vocabulary) {
  const TokenizerTraits& traits = vocabulary.traits;
  ordered_json settings = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                           {"clean_up_tokenization_spaces", traits.cleans_up},
                           {"model_input_names", {"input_ids", "attention_mask"}}};
  if (traits.token_types) settings["model_input_names"] = {"input_ids", "token_type_ids", "attention_mask"};
  if (traits.max_length) settings["model_max_length"] = traits.max_length;
  // In the order of the alphabet, so that the files do not tell a new tokenizer from one that was read.
  for (const auto& [key, token] : std::map(traits.names.begin(), traits.names.end())) settings[key] = token;
  if (!traits.extra.empty()) settings["extra_special_tokens"] = traits.extra;
  for (const auto& [key, token] : traits.model_names) settings["model_specific_special_tokens"][key] = token;
  if (traits.splits_special) settings["split_special_tokens"] = true;
  if (traits.truncates_left) settings["truncation_side"] = "left";
  const ordered_json passed_on = ordered_json::parse(traits.passed_on);
  for (const auto& [key, value] : passed_on.items()) settings[key] = value;
  return settings;
}

}  // namespace

TokenizerFiles byte_bpe_files(const Vocabulary& vocabulary, const BpeMerges& merges, const ByteBpeSettings& settings,
                              const Normalizer& normalizer) {
  const std::string vocab = vocab_json(vocabulary);
  std::string merge_list = "[", merge_lines = "#version: 0.2\n";
  for (const BpeMerges::Merge& merge : merges.all()) {
    const std::string text = merge_text(vocabulary, merge);
    merge_list += (merge_list.size() > 1 ? ", " : "") + json_text(text);
    merge_lines += text + "\n";
  }
  const std::string unknown = vocabulary.unknown >= 0 ? json_text(vocabulary.token(vocabulary.unknown)) : "null";
  const std::string model = "{\n    \"type\": \"BPE\",\n    \"dropout\": null,\n    \"unk_token\": " + unknown +
                            ",\n    \"continuing_subword_prefix\": \"\",\n    \"end_of_word_suffix\": \"\"," +
                            "\n    \"fuse_unk\": false,\n    \"byte_fallback\": false,\n    \"ignore_merges\": " +
                            (settings.whole_words ? "true" : "false") + ",\n    \"vocab\": " + vocab +
                            ",\n    \"merges\": " + merge_list + "]\n  }";

  const ordered_json pre_tokenizer = {{"type", "ByteLevel"},
                                      {"add_prefix_space", settings.add_prefix_space},
                                      {"trim_offsets", true},
                                      {"use_regex", true}};
  ordered_json post_processor = pre_tokenizer;
  post_processor["trim_offsets"] = false;
  const ordered_json decoder = {
      {"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}};
  ordered_json settings_json = config(vocabulary);
  settings_json["add_prefix_space"] = settings.add_prefix_space;
  if (vocabulary.traits.cleans_up)
    settings_json["clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output"] = true;
  return {{"tokenizer.json", tokenizer_json(vocabulary, pre_tokenizer, post_processor_of(vocabulary, post_processor),
                                            decoder, model, normalizer.to_json())},
          {"tokenizer_config.json", settings_json.dump(2) + "\n"},
          {"vocab.json", vocab + "\n"},
          {"merges.txt", merge_lines}};
}

TokenizerFiles wordpiece_files(const Vocabulary& vocabulary, const Normalizer& normalizer,
                               const WordPieceSettings& settings) {
  using Step = Normalizer::Step;
  const ordered_json decoder = {
      {"type", "WordPiece"}, {"prefix", settings.decoder_prefix}, {"cleanup", settings.cleanup}};
  const std::string model =
      "{\n    \"type\": \"WordPiece\",\n    \"unk_token\": " + json_text(vocabulary.token(vocabulary.unknown)) +
      ",\n    \"continuing_subword_prefix\": " + json_text(settings.prefix) +
      ",\n    \"max_input_chars_per_word\": " + std::to_string(settings.longest_word) +
      ",\n    \"vocab\": " + vocab_json(vocabulary) + "\n  }";
  ordered_json settings_json = config(vocabulary);
  settings_json["do_lower_case"] = normalizer.has(Step::lowercase);
  settings_json["strip_accents"] = normalizer.has(Step::strip_nonspacing);
  settings_json["tokenize_chinese_chars"] = normalizer.has(Step::space_chinese);
  TokenizerFiles files = {
      {"tokenizer.json", tokenizer_json(vocabulary, {{"type", "BertPreTokenizer"}},
                                        post_processor_of(vocabulary, nullptr), decoder, model, normalizer.to_json())},
      {"tokenizer_config.json", settings_json.dump(2) + "\n"}};
  if (std::string lines = vocab_lines(vocabulary); !lines.empty()) files["vocab.txt"] = std::move(lines);
  return files;
}

TokenizerFiles character_files(const Vocabulary& vocabulary, bool skips_space) {
  const auto split = [](const char* pattern, const char* behavior) {
    return ordered_json{
        {"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", behavior}, {"invert", false}};
  };
  ordered_json pre_tokenizer = split(any_character_pattern, "Isolated");
  if (skips_space)
    pre_tokenizer = {{"type", "Sequence"},
                     {"pretokenizers", {split(space_pattern, "Removed"), split(any_character_pattern, "Isolated")}}};
  // A model of words must name an unknown token. One that the vocabulary does not have makes unknown characters errors.
  const std::string unknown = vocabulary.unknown >= 0 ? vocabulary.token(vocabulary.unknown) : "<unknown>";
  const std::string model = "{\n    \"type\": \"WordLevel\",\n    \"vocab\": " + vocab_json(vocabulary) +
                            ",\n    \"unk_token\": " + json_text(unknown) + "\n  }";
  return {{"tokenizer.json", tokenizer_json(vocabulary, pre_tokenizer, post_processor_of(vocabulary, nullptr),
                                            {{"type", "Fuse"}}, model)},
          {"tokenizer_config.json", config(vocabulary).dump(2) + "\n"}};
}

TokenizerFiles unigram_files(const Vocabulary& vocabulary, const std::vector<double>& scores,
                             const Normalizer& normalizer, const UnigramSettings& settings) {
  std::string vocab = "[";
  for (size_t id = 0; id < scores.size(); ++id)
    vocab += (id > 0 ? ", [" : "[") + json_text(vocabulary.token(static_cast<int32_t>(id))) + ", " +
             write_score(scores[id]) + "]";
  const std::string unknown = vocabulary.unknown >= 0 ? std::to_string(vocabulary.unknown) : "null";
  const std::string model = "{\n    \"type\": \"Unigram\",\n    \"unk_id\": " + unknown + ",\n    \"vocab\": " + vocab +
                            "],\n    \"byte_fallback\": " + (settings.byte_fallback ? "true" : "false") + "\n  }";
  ordered_json steps = ordered_json::array();
  if (settings.drops_spaces) steps.push_back({{"type", "WhitespaceSplit"}});
  if (settings.metaspace) steps.push_back(settings.metaspace->to_json());
  const ordered_json pre_tokenizer = steps.empty()       ? ordered_json(nullptr)
                                     : steps.size() == 1 ? steps[0]
                                                         : ordered_json{{"type", "Sequence"}, {"pretokenizers", steps}};
  return {{"tokenizer.json", tokenizer_json(vocabulary, pre_tokenizer, post_processor_of(vocabulary, nullptr),
                                            settings.decoder.to_json(), model, normalizer.to_json())},
          {"tokenizer_config.json", config(vocabulary).dump(2) + "\n"}};
}

}  // namespace engine
