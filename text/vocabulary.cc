#include "text/vocabulary.h"

#include <algorithm>

#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"

namespace engine {

namespace {

// For messages: a token may hold anything.
std::string quoted(std::string_view token) {
  std::string text = "\"";
  for (const char c : token.substr(0, 60)) text += static_cast<unsigned char>(c) < 0x20 ? '?' : c;
  return text + (token.size() > 60 ? " ...\"" : "\"");
}

}  // namespace

Vocabulary::Vocabulary(std::vector<std::string> tokens) : tokens_(std::move(tokens)) { index_tokens(); }

Vocabulary::Vocabulary(const std::vector<std::pair<std::string, int64_t>>& tokens, const std::vector<AddedToken>& added,
                       const std::string& where) {
  std::unordered_map<std::string_view, int64_t> known(tokens.begin(), tokens.end());
  std::vector<std::pair<std::string_view, int64_t>> all(tokens.begin(), tokens.end());
  for (const AddedToken& token : added) {
    const auto [place, is_new] = known.emplace(token.content, token.id);
    if (is_new) {
      all.emplace_back(token.content, token.id);
      only_added_.push_back(token.id);
    }
    if (place->second != token.id)
      fail(where, ": the added token ", quoted(token.content), " has the id ", token.id, ", in the vocabulary it has ",
           place->second);
  }
  std::sort(only_added_.begin(), only_added_.end());
  if (all.empty()) fail(where, ": the vocabulary is empty");

  // A token's address in `all` marks an id as taken: tokens themselves may be empty.
  const int64_t count = static_cast<int64_t>(all.size());
  std::vector<const std::string_view*> by_id(all.size(), nullptr);
  int64_t beyond = -1;
  for (const auto& [token, id] : all) {
    if (id < 0) fail(where, ": the token ", quoted(token), " has the id ", id, ", ids begin at 0");
    if (id >= count) {
      beyond = id;
      continue;
    }
    const std::string_view*& place = by_id[static_cast<size_t>(id)];
    if (place) fail(where, ": the tokens ", quoted(*place), " and ", quoted(token), " have the same id, ", id);
    place = &token;
  }
  for (int64_t id = 0; id < count; ++id)
    if (!by_id[static_cast<size_t>(id)])
      fail(where, ": no token has the id ", id, ", and one has ", beyond, ": ids must be 0 ... number of tokens - 1");

  for (const std::string_view* token : by_id) tokens_.emplace_back(*token);
  try {
    index_tokens();
    for (const AddedToken& token : added) add(token);
  } catch (const Error& error) {
    fail(where, ": ", error.what());
  }
}

void Vocabulary::index_tokens() {
  kinds_.assign(tokens_.size(), Kind::plain);
  ids_.reserve(tokens_.size());
  for (size_t id = 0; id < tokens_.size(); ++id)
    if (!ids_.emplace(tokens_[id], static_cast<int32_t>(id)).second)
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

bool Vocabulary::is_beyond(int32_t id) const {
  require(id >= 0, "the token id ", id, " is negative");
  return id >= size();
}

int32_t Vocabulary::find(std::string_view token) const {
  const auto found = ids_.find(token);
  return found == ids_.end() ? -1 : found->second;
}

std::optional<int32_t> VocabularyTokenizer::id_of(std::string_view token) const {
  const int32_t id = vocabulary_.find(token);
  return id < 0 ? std::nullopt : std::optional(id);
}

TokenizerFiles VocabularyTokenizer::saved_files() const {
  TokenizerFiles files = files_;
  files.merge(made_files());
  return files;
}

void VocabularyTokenizer::save(const std::filesystem::path& folder) const {
  std::filesystem::create_directories(folder);
  for (const auto& [name, content] : saved_files()) write_file(folder / name, content);
}

uint64_t VocabularyTokenizer::digest() const {
  uint64_t hash = empty_hash;
  for (const auto& [name, content] : saved_files()) hash = hash_of(content, hash_of(name, hash));
  return hash;
}

bool VocabularyTokenizer::may_cut(std::string_view text, size_t at) const {
  // An added token may hold line ends, and may take the white space before or behind it.
  for (const AddedToken& token : vocabulary_.added().all()) {
    const size_t length = token.content.size(), begin = at - std::min(at, length + 1);
    if (text.substr(begin, at + length - begin).find(token.content) != std::string_view::npos) return false;
  }
  return true;
}

}  // namespace engine
