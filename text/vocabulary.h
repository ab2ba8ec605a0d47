// What every tokenizer here has: tokens with their ids, added tokens, and those that begin, end and fill a document.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/added_tokens.h"
#include "text/tokenizer.h"

namespace engine {

class Vocabulary {
 public:
  // Tokens in the order of their ids, each once.
  explicit Vocabulary(std::vector<std::string> tokens);
  // From (token, id) in any order: an Error names a repeated token or id, or the first id that nothing has. Added
  // tokens have ids of their own or stand in the vocabulary with the same id. `where` goes before the message.
  Vocabulary(const std::vector<std::pair<std::string, int64_t>>& tokens, const std::vector<AddedToken>& added,
             const std::string& where);
  Vocabulary(Vocabulary&&) = default;
  Vocabulary(const Vocabulary&) = delete;

  int32_t size() const { return static_cast<int32_t>(tokens_.size()); }
  const std::string& token(int32_t id) const;  // an Error names an id outside the vocabulary
  // Whether the id lies behind the last token, as a model's may whose vocabulary is padded. A negative one is an Error.
  bool is_beyond(int32_t id) const;
  int32_t find(std::string_view token) const;  // -1: not there
  const AddedTokens& added() const { return added_; }
  // A token of the vocabulary, recognised in texts from now on.
  void add_special(std::string_view token);
  bool is_added(int32_t id) const { return kinds_[static_cast<size_t>(id)] != Kind::plain; }
  // Of a token that is no part of the model's own vocabulary: no word is spelled with it.
  bool is_only_added(int32_t id) const { return std::binary_search(only_added_.begin(), only_added_.end(), id); }
  bool is_special(int32_t id) const { return kinds_[static_cast<size_t>(id)] == Kind::special; }

  int32_t end = -1, begin = -1, pad = -1, unknown = -1, classifier = -1, separator = -1, mask = -1;
  Framing framing;
  int64_t max_length = 0;

 private:
  enum class Kind : uint8_t { plain, added, special };
  void index_tokens();
  void add(const AddedToken& token);

  std::vector<std::string> tokens_;
  std::unordered_map<std::string_view, int32_t> ids_;
  std::vector<Kind> kinds_;
  std::vector<int32_t> only_added_;  // sorted
  AddedTokens added_;
};

// The names of files in a tokenizer's folder, with their contents.
using TokenizerFiles = std::map<std::string, std::string>;

class VocabularyTokenizer : public Tokenizer {
 public:
  // `files` are those that the tokenizer was loaded from and that are saved again as they are.
  VocabularyTokenizer(Vocabulary vocabulary, TokenizerFiles files)
      : vocabulary_(std::move(vocabulary)), files_(std::move(files)) {}

  using Tokenizer::encode;
  int32_t vocab_size() const override { return vocabulary_.size(); }
  std::optional<int32_t> id_of(std::string_view token) const override;
  std::string token(int32_t id) const override { return vocabulary_.token(id); }
  int32_t end_token() const override { return vocabulary_.end; }
  int32_t begin_token() const override { return vocabulary_.begin; }
  int32_t pad_token() const override { return vocabulary_.pad; }
  int32_t mask_token() const override { return vocabulary_.mask; }
  bool is_special(int32_t id) const override { return vocabulary_.is_special(id); }
  const Framing& framing() const override { return vocabulary_.framing; }
  int64_t max_length() const override { return vocabulary_.max_length; }
  void save(const std::filesystem::path& folder) const override;
  uint64_t digest() const override;
  bool may_cut(std::string_view text, size_t at) const override;

 protected:
  // tokenizer.json, tokenizer_config.json and the kind's own files, as far as files_ does not hold them.
  virtual TokenizerFiles made_files() const = 0;
  TokenizerFiles saved_files() const;

  Vocabulary vocabulary_;
  TokenizerFiles files_;
};

}  // namespace engine
