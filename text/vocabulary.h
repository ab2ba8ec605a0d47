// All tokenizers share this: tokens with their ids, added tokens, and those that begin, end and fill a document.
#pragma once

#include <algorithm>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/added_tokens.h"
#include "text/normalizer.h"
#include "text/tokenizer.h"

namespace engine {

// The settings of a folder's tokenizer_config.json that do not depend on the kind of tokenizer.
struct TokenizerTraits {
  using Names = std::vector<std::pair<std::string, std::string>>;
  Names names;                       // "eos_token": "</s>", ...
  Names model_names;                 // names that only some models have, "image_token": "<image>"
  std::vector<std::string> extra;    // special tokens without a name
  int64_t max_length = 0;            // with special tokens; 0: no limit
  bool token_types = true;           // models are given token types
  bool truncates_left = false;       // a long text loses its beginning
  bool splits_special = false;       // special tokens in a text are text
  bool cleans_up = false;            // decoded text loses the spaces before . ? ! , 's n't ...
  bool has_decoder = true;           // otherwise decoded tokens have spaces between them
  std::vector<bool> offset_trims;    // each trims spaces; true: it keeps a prefix space
  std::string passed_on = "{}";      // keys of tokenizer_config.json that are saved as they are
};

class Vocabulary {
 public:
  // Takes tokens in the order of their ids, each once.
  explicit Vocabulary(std::vector<std::string> tokens);
  // Takes the model's tokens with their ids, in any order, and the added tokens. An Error names a repeated token or id.
  // An id that no token has is a gap. An added token that is also a token of the model has that token's id. `where`
  // goes before the message.
  Vocabulary(const std::vector<std::pair<std::string, int64_t>>& tokens, const std::vector<AddedToken>& added,
             const std::string& where);
  Vocabulary(Vocabulary&&) = default;
  Vocabulary(const Vocabulary&) = delete;

  int32_t size() const { return static_cast<int32_t>(tokens_.size()); }
  const std::string& token(int32_t id) const;       // empty for a gap; an Error names an id outside the vocabulary
  int32_t find(std::string_view token) const;           // -1: not there
  int32_t find_in_model(std::string_view token) const;  // the same among the model's own tokens
  const AddedTokens& added() const { return added_; }
  // Makes a token of the vocabulary special, so that it is recognised in texts.
  void add_special(std::string_view token);
  bool is_gap(int32_t id) const { return kinds_[static_cast<size_t>(id)] == Kind::gap; }
  // Says whether a token is no part of the model's own vocabulary, so that no word is spelled with it.
  bool is_only_added(int32_t id) const { return std::binary_search(only_added_.begin(), only_added_.end(), id); }
  bool is_added(int32_t id) const { return kinds_[static_cast<size_t>(id)] > Kind::plain; }
  bool is_special(int32_t id) const { return kinds_[static_cast<size_t>(id)] == Kind::special; }
  bool is_in_model(int32_t id) const { return !is_gap(id) && !is_only_added(id); }
  // Names a token, "eos_token" for instance, and sets the member that belongs to the name.
  void name(const std::string& key, int32_t id);

  int32_t end = -1, begin = -1, pad = -1, classifier = -1, separator = -1, mask = -1;
  int32_t unknown = -1;  // the model's token for what it cannot spell
  Framing framing;
  TokenizerTraits traits;

 private:
  enum class Kind : uint8_t { gap, plain, added, special };
  void index_tokens();
  void add(const AddedToken& token);

  std::vector<std::string> tokens_;
  std::unordered_map<std::string_view, int32_t> ids_;
  std::vector<Kind> kinds_;
  std::vector<int32_t> only_added_;  // sorted
  AddedTokens added_;
};

// The files of a tokenizer's folder: content by name.
using TokenizerFiles = std::map<std::string, std::string>;

class VocabularyTokenizer : public Tokenizer {
 public:
  explicit VocabularyTokenizer(Vocabulary vocabulary, const Normalizer& normalizer = {});

  using Tokenizer::encode;
  int32_t vocab_size() const override { return vocabulary_.size(); }
  std::optional<int32_t> id_of(std::string_view token) const override;
  std::string token(int32_t id) const override { return vocabulary_.token(id); }
  int32_t end_token() const override { return vocabulary_.end; }
  int32_t begin_token() const override { return vocabulary_.begin; }
  int32_t pad_token() const override { return vocabulary_.pad; }
  int32_t mask_token() const override { return vocabulary_.mask; }
  bool is_special(int32_t id) const override { return vocabulary_.is_special(id); }
  bool is_named(int32_t id) const override;
  const Framing& framing() const override { return vocabulary_.framing; }
  int64_t max_length() const override { return vocabulary_.traits.max_length; }
  bool truncates_left() const override { return vocabulary_.traits.truncates_left; }
  void save(const std::filesystem::path& folder) const override;
  uint64_t digest() const override;
  bool may_cut(std::string_view text, size_t at) const override;

 protected:
  // Returns tokenizer.json, tokenizer_config.json and the kind's own files.
  virtual TokenizerFiles made_files() const = 0;
  // Adds a token that the vocabulary spells so, or an added token that took this part of the text, with its offsets
  // trimmed as the folder says.
  void add_token(int32_t id, std::string_view spelled, std::pair<int32_t, int32_t> offsets, Encoding& encoding) const;
  // Returns the text of a token when it is decoded. An added token that is looked for in normalized text is normalized.
  const std::string& shown(int32_t id) const;
  // Returns the ids that have a text. A model may have more ids than the tokenizer. Those have none.
  std::vector<int32_t> decodable(std::span<const int32_t> ids, bool skip_special_tokens) const;
  // Cleans up the spaces of a decoded text if the folder says so.
  std::string cleaned_up(std::string text) const;
  // Joins the tokens with spaces, which is how a tokenizer without a decoder decodes.
  std::string joined(const std::vector<int32_t>& ids) const;

  Vocabulary vocabulary_;
  // Added tokens that are looked for in the text as it is, and in normalized text. Without a normalizer the former
  // holds all.
  AddedTokens plain_added_, normalized_added_;

 private:
  std::map<int32_t, std::string> shown_;
};

}  // namespace engine
