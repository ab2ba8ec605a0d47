// Targets for tokenizers. The last part of an input is a text to encode.
#include <algorithm>
#include <array>

#include "tests/fuzz/targets.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

namespace engine::fuzz {

namespace {

std::string_view part(const std::vector<std::string_view>& parts, size_t index) {
  return index < parts.size() ? parts[index] : std::string_view();
}

// Loads a folder and checks what its tokenizer makes of a text.
void check_tokenizer(const std::string& folder, std::string_view text) {
  const std::unique_ptr<Tokenizer> tokenizer = load_tokenizer(folder);
  if (find_invalid_utf8(text) < text.size()) text = "the cat, 12 [MASK] naïve 猫";
  text = text.substr(0, 4096);
  text = text.substr(0, find_invalid_utf8(text));
  const std::vector<int32_t> ids = tokenizer->encode(text);
  for (const int32_t id : ids) promise(0 <= id && id < tokenizer->vocab_size(), "an id is outside of the vocabulary");
  const Encoding with_offsets = tokenizer->encode_with_offsets(text);
  promise(with_offsets.ids == ids, "ids with offsets differ from those without");
  promise(with_offsets.offsets.size() == ids.size(), "a token has no offset");
  for (const auto& [begin, end] : with_offsets.offsets)
    promise(0 <= begin && begin <= end && end <= static_cast<int32_t>(text.size()), "an offset is outside of the text");
  const std::string decoded = tokenizer->decode(ids), without = tokenizer->decode(ids, true);
  promise(find_invalid_utf8(decoded) == decoded.size(), "a decoded text is no UTF-8");
  promise(find_invalid_utf8(without) == without.size(), "a decoded text without special tokens is no UTF-8");
  for (const int32_t id : {tokenizer->end_token(), tokenizer->begin_token(), tokenizer->pad_token(),
                           tokenizer->mask_token()})
    promise(-1 <= id && id < tokenizer->vocab_size(), "a special token is outside of the vocabulary");
  const std::string saved = folder + "/saved";
  input_folder({{"saved/empty", ""}});
  tokenizer->save(saved);
  const std::unique_ptr<Tokenizer> again = load_tokenizer(saved);
  promise(again->encode(text) == ids, "a saved tokenizer encodes differently");
  promise(again->decode(ids) == decoded, "a saved tokenizer decodes differently");
}

}  // namespace

// tokenizer.json, tokenizer_config.json, text
void read_tokenizer_json_input(std::string_view input) {
  const auto parts = parts_of(input);
  std::vector<InputFile> files{{"tokenizer.json", part(parts, 0)}};
  if (!part(parts, 1).empty()) files.push_back({"tokenizer_config.json", part(parts, 1)});
  check_tokenizer(input_folder(files), part(parts, 2));
}

// vocab.txt, tokenizer_config.json, text
void read_wordpiece_input(std::string_view input) {
  const auto parts = parts_of(input);
  std::vector<InputFile> files{{"vocab.txt", part(parts, 0)}};
  if (!part(parts, 1).empty()) files.push_back({"tokenizer_config.json", part(parts, 1)});
  check_tokenizer(input_folder(files), part(parts, 2));
}

// vocab.json, merges.txt, tokenizer_config.json, text
void read_bpe_input(std::string_view input) {
  const auto parts = parts_of(input);
  std::vector<InputFile> files{{"vocab.json", part(parts, 0)}, {"merges.txt", part(parts, 1)}};
  if (!part(parts, 2).empty()) files.push_back({"tokenizer_config.json", part(parts, 2)});
  check_tokenizer(input_folder(files), part(parts, 3));
}

// A byte that chooses the class, and the model.
void read_sentencepiece_input(std::string_view input) {
  struct Class {
    const char *file, *config;
  };
  constexpr std::array<Class, 4> classes{
      {{"spiece.model", R"({"tokenizer_class": "T5Tokenizer"})"},
       {"spiece.model", R"({"tokenizer_class": "AlbertTokenizer"})"},
       {"sentencepiece.bpe.model", R"({"tokenizer_class": "XLMRobertaTokenizer"})"},
       {"sentencepiece.model", R"({"tokenizer_class": "RemBertTokenizer", "do_lower_case": false})"}}};
  if (input.empty()) return;
  const Class& one = classes[static_cast<unsigned char>(input[0]) % classes.size()];
  check_tokenizer(input_folder({{one.file, input.substr(1)}, {"tokenizer_config.json", one.config}}),
                  "the cat, 12 naïve 猫");
}

}  // namespace engine::fuzz
