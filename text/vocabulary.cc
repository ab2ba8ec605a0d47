#include "text/vocabulary.h"

#include <algorithm>

#include "core/error.h"
#include "core/files.h"
#include "core/folders.h"
#include "core/hash.h"
#include "text/offset_trims.h"

namespace engine {

namespace {

// Quotes a token for messages. It may hold anything.
std::string quoted(std::string_view token) {
  std::string text = "\"";
  for (const char c : token.substr(0, 60)) text += static_cast<unsigned char>(c) < 0x20 ? '?' : c;
  return text + (token.size() > 60 ? " ...\"" : "\"");
}

constexpr int64_t most_gaps = 1024;  // besides one for each token

}  // namespace

Vocabulary::Vocabulary(std::vector<std::string> tokens)
    : tokens_(std::move(tokens)), kinds_(tokens_.size(), Kind::plain) {
  index_tokens();
}

Vocabulary::Vocabulary(const std::vector<std::pair<std::string, int64_t>>& tokens, const std::vector<AddedToken>& added,
                       const std::string& where) {
  std::unordered_map<std::string_view, int64_t> known(tokens.begin(), tokens.end());
  std::vector<std::pair<std::string_view, int64_t>> all(tokens.begin(), tokens.end());
  for (const AddedToken& token : added) {
    if (!known.emplace(token.content, token.id).second) continue;
    all.emplace_back(token.content, token.id);
    only_added_.push_back(token.id);
  }
  std::sort(only_added_.begin(), only_added_.end());
  if (all.empty()) fail(where, ": the vocabulary is empty");

  int64_t size = 0;
  for (const auto& [token, id] : all) {
    if (id < 0) fail(where, ": the token ", quoted(token), " has the id ", id, ", ids begin at 0");
    size = std::max(size, id + 1);
  }
  // Gaps come from lines that stand twice or were left out, so they are few.
  const auto count = static_cast<int64_t>(all.size());
  if (size > 2 * count + most_gaps)
    fail(where, ": one of the ", count, " tokens has the id ", size - 1, ", so most ids would have no token");
  tokens_.resize(static_cast<size_t>(size));
  kinds_.assign(tokens_.size(), Kind::gap);
  for (const auto& [token, id] : all) {
    const auto place = static_cast<size_t>(id);
    if (kinds_[place] != Kind::gap)
      fail(where, ": the tokens ", quoted(tokens_[place]), " and ", quoted(token), " have the same id, ", id);
    kinds_[place] = Kind::plain;
    tokens_[place] = token;
  }
  try {
    index_tokens();
    for (const AddedToken& token : added) add(token);
  } catch (const Error& error) {
    fail(where, ": ", error.what());
  }
}

void Vocabulary::index_tokens() {
  ids_.reserve(tokens_.size());
  for (size_t id = 0; id < tokens_.size(); ++id)
    if (kinds_[id] != Kind::gap && !ids_.emplace(tokens_[id], static_cast<int32_t>(id)).second)
      fail("the token ", quoted(tokens_[id]), " stands in the vocabulary twice");
}

void Vocabulary::add(const AddedToken& token) {
  added_.add(token);
  kinds_[static_cast<size_t>(token.id)] = token.special ? Kind::special : Kind::added;
}

void Vocabulary::add_special(std::string_view token) {
  const int32_t id = find(token);
  require(id >= 0, "the special token ", quoted(token), " is not in the vocabulary");
  if (!is_added(id)) add({.id = id, .content = std::string(token)});
}

const std::string& Vocabulary::token(int32_t id) const {
  require(id >= 0 && id < size(), "the token id ", id, " is outside the vocabulary of ", size(), " tokens");
  return tokens_[static_cast<size_t>(id)];
}

int32_t Vocabulary::find(std::string_view token) const {
  const auto found = ids_.find(token);
  return found == ids_.end() ? -1 : found->second;
}

int32_t Vocabulary::find_in_model(std::string_view token) const {
  const int32_t id = find(token);
  return id >= 0 && is_only_added(id) ? -1 : id;
}

void Vocabulary::name(const std::string& key, int32_t id) {
  traits.names.emplace_back(key, token(id));
  const std::pair<const char*, int32_t Vocabulary::*> members[] = {
      {"eos_token", &Vocabulary::end},         {"bos_token", &Vocabulary::begin},
      {"pad_token", &Vocabulary::pad},         {"cls_token", &Vocabulary::classifier},
      {"sep_token", &Vocabulary::separator},   {"mask_token", &Vocabulary::mask}};
  for (const auto& [name, member] : members)
    if (key == name) this->*member = id;
}

VocabularyTokenizer::VocabularyTokenizer(Vocabulary vocabulary, const Normalizer& normalizer)
    : vocabulary_(std::move(vocabulary)) {
  for (AddedToken token : vocabulary_.added().all()) {
    token.passed_over = token.special && vocabulary_.traits.splits_special;
    if (!token.normalized || normalizer.empty()) {
      plain_added_.add(std::move(token));
      continue;
    }
    std::string content = normalizer.apply(token.content);
    if (content != token.content) shown_.emplace(token.id, content);
    token.content = std::move(content);
    if (!token.content.empty()) normalized_added_.add(std::move(token));
  }
}

std::optional<int32_t> VocabularyTokenizer::id_of(std::string_view token) const {
  const int32_t id = vocabulary_.find(token);
  return id < 0 ? std::nullopt : std::optional(id);
}

bool VocabularyTokenizer::is_named(int32_t id) const {
  const TokenizerTraits& traits = vocabulary_.traits;
  const std::string& token = vocabulary_.token(id);
  const auto names = [&](const auto& name) { return name.second == token; };
  return std::any_of(traits.names.begin(), traits.names.end(), names) ||
         std::any_of(traits.model_names.begin(), traits.model_names.end(), names) ||
         std::find(traits.extra.begin(), traits.extra.end(), token) != traits.extra.end();
}

void VocabularyTokenizer::add_token(int32_t id, std::string_view spelled, std::pair<int32_t, int32_t> offsets,
                                    Encoding& encoding) const {
  trim_offsets(vocabulary_.traits.offset_trims, spelled, encoding.ids.empty(), offsets);
  encoding.ids.push_back(id);
  encoding.offsets.push_back(offsets);
}

const std::string& VocabularyTokenizer::shown(int32_t id) const {
  const auto found = shown_.find(id);
  return found == shown_.end() ? vocabulary_.token(id) : found->second;
}

std::vector<int32_t> VocabularyTokenizer::decodable(std::span<const int32_t> ids, bool skip_special_tokens) const {
  std::vector<int32_t> kept;
  kept.reserve(ids.size());
  for (const int32_t id : ids) {
    require(id >= 0, "the token id ", id, " is negative");
    if (id >= vocabulary_.size() || vocabulary_.is_gap(id)) continue;
    // As in `tokenizers`, the text that is shown decides whether a token is special.
    const int32_t of_text = shown_.contains(id) ? vocabulary_.find(shown(id)) : id;
    if (!skip_special_tokens || of_text < 0 || !vocabulary_.is_special(of_text)) kept.push_back(id);
  }
  return kept;
}

std::string VocabularyTokenizer::joined(const std::vector<int32_t>& ids) const {
  std::string text;
  for (size_t i = 0; i < ids.size(); ++i) text.append(i == 0 ? "" : " ").append(shown(ids[i]));
  return text;
}

std::string VocabularyTokenizer::cleaned_up(std::string text) const {
  constexpr std::pair<std::string_view, std::string_view> replacements[] = {
      {" .", "."},     {" ?", "?"},   {" !", "!"},   {" ,", ","},     {" ' ", "'"},
      {" n't", "n't"}, {" 'm", "'m"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  if (vocabulary_.traits.cleans_up)
    for (const auto& [from, to] : replacements)
      for (size_t place = 0; (place = text.find(from, place)) != std::string::npos; place += to.size())
        text.replace(place, from.size(), to);
  return text;
}

void VocabularyTokenizer::save(const std::filesystem::path& folder) const {
  make_folders(folder);
  for (const auto& [name, content] : made_files()) write_file(folder / name, content);
}

uint64_t VocabularyTokenizer::digest() const {
  uint64_t hash = empty_hash;
  for (const auto& [name, content] : made_files()) hash = hash_of(content, hash_of(name, hash));
  return hash;
}

bool VocabularyTokenizer::may_cut(std::string_view text, size_t at) const {
  // An added token may hold line ends, and may take the white space before or behind it.
  for (const AddedToken& token : plain_added_.all()) {
    const size_t length = token.content.size(), begin = at - std::min(at, length + 1);
    if (text.substr(begin, at + length - begin).find(token.content) != std::string_view::npos) return false;
  }
  // One that is looked for in normalized text has no fixed spelling here. Without spaces it cannot reach over a line's
  // end, and only one that takes the white space before it sees what is there.
  for (const AddedToken& token : normalized_added_.all())
    if (token.strip_left || token.content.find_first_of(" \t\r\n") != std::string::npos) return false;
  return true;
}

}  // namespace engine
