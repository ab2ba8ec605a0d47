// tokenizer.json and tokenizer_config.json, written so that AutoTokenizer gives the ids that we give.
#include <nlohmann/json.hpp>

#include "text/tokenizer_json.h"

namespace engine {

using nlohmann::ordered_json;

namespace {

std::string json_text(std::string_view text) { return ordered_json(text).dump(); }

// The vocabulary as a JSON object, in the order of the ids. Written here: an ordered object of the library compares
// each new key with all before it.
std::string vocab_json(const Vocabulary& vocabulary) {
  std::string text = "{";
  for (int32_t id = 0; id < vocabulary.size(); ++id)
    text += (id ? ", " : "") + json_text(vocabulary.token(id)) + ": " + std::to_string(id);
  return text + "}";
}

std::string merge_text(const Vocabulary& vocabulary, const BpeMerges::Merge& merge) {
  return vocabulary.token(merge.left) + " " + vocabulary.token(merge.right);
}

// The whole tokenizer.json; `model` is its last member, already written.
std::string tokenizer_json(const Vocabulary& vocabulary, const ordered_json& pre_tokenizer,
                           const ordered_json& post_processor, const ordered_json& decoder, const std::string& model,
                           const ordered_json& normalizer = nullptr) {
  ordered_json added = ordered_json::array();
  for (const AddedToken& token : vocabulary.added().all())
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
                             {"decoder", decoder}};
  std::string text = rest.dump(2);
  text.resize(text.size() - 2);  // "\n}"
  return text + ",\n  \"model\": " + model + "\n}\n";
}

// The names of special tokens as the library's users know them. Without model_input_names a GPT-2 would be handed token
// types, and add embeddings for them.
ordered_json config(const Vocabulary& vocabulary) {
  ordered_json settings = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                           {"clean_up_tokenization_spaces", false},
                           {"model_input_names", {"input_ids", "attention_mask"}}};
  if (vocabulary.max_length) settings["model_max_length"] = vocabulary.max_length;
  const auto name = [&](const char* key, int32_t id) {
    if (id >= 0) settings[key] = vocabulary.token(id);
  };
  name("eos_token", vocabulary.end);
  name("bos_token", vocabulary.begin);
  name("pad_token", vocabulary.pad);
  name("unk_token", vocabulary.unknown);
  for (const auto& [key, id] : {std::pair{"sep_token", vocabulary.separator},
                                {"cls_token", vocabulary.classifier},
                                {"mask_token", vocabulary.mask}})
    if (id >= 0 && vocabulary.is_special(id)) name(key, id);
  return settings;
}

}  // namespace

TokenizerFiles byte_bpe_files(const Vocabulary& vocabulary, const BpeMerges& merges, const ByteBpeSettings& settings) {
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
  post_processor["trim_offsets"] = settings.trim_offsets;
  if (const int32_t first = vocabulary.find("<s>"), last = vocabulary.find("</s>");
      settings.trim_offsets && first >= 0 && last >= 0)
    post_processor = {{"type", "RobertaProcessing"},
                      {"sep", {"</s>", last}},
                      {"cls", {"<s>", first}},
                      {"trim_offsets", true},
                      {"add_prefix_space", settings.add_prefix_space}};
  const ordered_json decoder = {
      {"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}};

  ordered_json settings_json = config(vocabulary);
  settings_json["add_prefix_space"] = settings.add_prefix_space;
  return {{"tokenizer.json", tokenizer_json(vocabulary, pre_tokenizer, post_processor, decoder, model)},
          {"tokenizer_config.json", settings_json.dump(2) + "\n"},
          {"vocab.json", vocab + "\n"},
          {"merges.txt", merge_lines}};
}

TokenizerFiles wordpiece_files(const Vocabulary& vocabulary, const Normalizer& normalizer,
                               const WordPieceSettings& settings) {
  using Step = Normalizer::Step;
  const bool strips = normalizer.has(Step::strip_nonspacing), lowers = normalizer.has(Step::lowercase);
  const bool spaces_chinese = normalizer.has(Step::space_chinese);
  const ordered_json bert = {{"type", "BertNormalizer"},
                             {"clean_text", normalizer.has(Step::clean)},
                             {"handle_chinese_chars", spaces_chinese},
                             {"strip_accents", strips},
                             {"lowercase", lowers}};
  const ordered_json decoder = {{"type", "WordPiece"}, {"prefix", settings.prefix}, {"cleanup", settings.cleanup}};
  const std::string model =
      "{\n    \"type\": \"WordPiece\",\n    \"unk_token\": " + json_text(vocabulary.token(vocabulary.unknown)) +
      ",\n    \"continuing_subword_prefix\": " + json_text(settings.prefix) +
      ",\n    \"max_input_chars_per_word\": " + std::to_string(settings.longest_word) +
      ",\n    \"vocab\": " + vocab_json(vocabulary) + "\n  }";
  ordered_json settings_json = config(vocabulary);
  settings_json["model_input_names"] = {"input_ids", "token_type_ids", "attention_mask"};
  settings_json["do_lower_case"] = lowers;
  settings_json["strip_accents"] = strips;
  settings_json["tokenize_chinese_chars"] = spaces_chinese;
  std::string lines;
  for (int32_t id = 0; id < vocabulary.size(); ++id) lines += vocabulary.token(id) + "\n";
  return {{"tokenizer.json", tokenizer_json(vocabulary, {{"type", "BertPreTokenizer"}},
                                            template_processing(vocabulary.framing, vocabulary), decoder, model, bert)},
          {"tokenizer_config.json", settings_json.dump(2) + "\n"},
          {"vocab.txt", lines}};
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
  ordered_json settings = config(vocabulary);
  if (skips_space) settings["padding_side"] = "left";
  return {{"tokenizer.json", tokenizer_json(vocabulary, pre_tokenizer, nullptr, {{"type", "Fuse"}}, model)},
          {"tokenizer_config.json", settings.dump(2) + "\n"}};
}

}  // namespace engine
