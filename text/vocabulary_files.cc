#include "text/vocabulary_files.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "core/error.h"
#include "core/files.h"
#include "text/tokenizer_config.h"
#include "text/unicode.h"

namespace engine {

using nlohmann::json;
namespace fs = std::filesystem;

namespace {

// Calls line(text without its end, number from 1) for each line.
template <class Line>
void for_each_line(std::string_view text, const Line& line) {
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t length = std::min(text.find('\n'), text.size());
    std::string_view one = text.substr(0, length);
    text.remove_prefix(std::min(length + 1, text.size()));
    if (one.ends_with('\r')) one.remove_suffix(1);
    line(one, number);
  }
}

// Turns two tokens into a merge of ids. `place` tells where it stands.
BpeMerges::Merge read_merge(const Vocabulary& vocabulary, std::string_view left, std::string_view right,
                            const std::string& place) {
  const auto id = [&](const std::string& token) {
    const int32_t found = vocabulary.find_in_model(token);
    if (found < 0) fail(place, " names \"", token.substr(0, 60), "\", which is not in the vocabulary");
    return found;
  };
  return {id(std::string(left)), id(std::string(right)), id(std::string(left).append(right))};
}

BpeMerges::Merge read_merge(const Vocabulary& vocabulary, std::string_view text, const std::string& place) {
  const size_t space = text.find(' ');
  if (space == 0 || space >= text.size() - 1 || text.find(' ', space + 1) != std::string_view::npos)
    fail(place, " should be two tokens with one space between them");
  return read_merge(vocabulary, text.substr(0, space), text.substr(space + 1), place);
}

std::string_view without_spaces_behind(std::string_view text) {
  const char *const begin = text.data(), *end = begin + text.size();
  while (end > begin) {
    const char* place = end;
    if (class_of(previous_character(place)) != CharacterClass::space) break;
    end = place;
  }
  return text.substr(0, static_cast<size_t>(end - begin));
}

}  // namespace

TokenIds read_vocab_json(const json& vocab, const std::string& where) {
  if (!vocab.is_object()) fail(where, ": the vocabulary should be a JSON object of token: id");
  TokenIds tokens;
  tokens.reserve(vocab.size());
  for (const auto& [token, id] : vocab.items()) tokens.emplace_back(token, read_token_id(token, id, where));
  return tokens;
}

TokenIds read_vocab_txt(const fs::path& file) {
  const std::string content = read_text(file), where = file.string();
  if (content.starts_with("\xEF\xBB\xBF"))
    fail(where, ":1: begins with a byte order mark, which transformers takes for a part of the first token: remove it");
  std::unordered_map<std::string, int64_t> ids;
  for_each_line(text_of_file(content, where), [&](std::string_view line, size_t number) {
    if (find_invalid_utf8(line) < line.size()) fail(where, ":", number, ": the token is not UTF-8");
    ids[std::string(without_spaces_behind(line))] = static_cast<int64_t>(number) - 1;
  });
  return {ids.begin(), ids.end()};
}

BpeMerges read_merges_txt(const Vocabulary& vocabulary, const fs::path& file) {
  const std::string content = read_text(file);
  std::vector<BpeMerges::Merge> merges;
  for_each_line(content, [&](std::string_view line, size_t number) {
    if (line.empty() || line.starts_with("#version")) return;
    merges.push_back(read_merge(vocabulary, line, detail::joined(file.string(), ": line ", number)));
  });
  return BpeMerges(std::move(merges));
}

BpeMerges read_merges_json(const Vocabulary& vocabulary, const json& list, const std::string& where) {
  if (!list.is_array()) fail(where, ": \"merges\" should be a list");
  std::vector<BpeMerges::Merge> merges;
  merges.reserve(list.size());
  for (const json& merge : list) {
    const std::string place = detail::joined(where, ": merge ", merges.size() + 1);
    if (merge.is_string()) {
      merges.push_back(read_merge(vocabulary, merge.get_ref<const std::string&>(), place));
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      merges.push_back(read_merge(vocabulary, merge[0].get_ref<const std::string&>(),
                                  merge[1].get_ref<const std::string&>(), place));
    } else {
      fail(place, " should be a string \"left right\" or a pair of strings");
    }
  }
  return BpeMerges(std::move(merges));
}

}  // namespace engine
