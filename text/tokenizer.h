// A Tokenizer turns text into token ids and back. Every kind loads from and saves to a Hugging Face folder
// (tokenizer.json, tokenizer_config.json and the kind's own files), so that AutoTokenizer gives the same ids.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/framing.h"

namespace engine {

struct Encoding {
  std::vector<int32_t> ids;
  std::vector<std::pair<int32_t, int32_t>> offsets;  // [begin, end) of each token in the text, in code points
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // Appends the ids of `text` (UTF-8) without adding special tokens. Special tokens that are written out in the text
  // are recognised. Bad UTF-8 is an Error that gives the byte offset. A character that the vocabulary lacks is an Error
  // that gives the character and its place. Threads may encode at once.
  virtual void encode(std::string_view text, std::vector<int32_t>& ids) const = 0;
  // Does the same for a text that goes on where the last one ended. If a text is split where may_cut allows, its first
  // piece goes through encode and the others through encode_continued, the ids are those of the whole text.
  virtual void encode_continued(std::string_view text, std::vector<int32_t>& ids) const { encode(text, ids); }
  // Says whether a text may be split at a place behind a line's end that stands between two visible ASCII characters,
  // because no token, and nothing that a token takes from its surroundings, reaches across it.
  virtual bool may_cut(std::string_view text, size_t at) const = 0;
  virtual Encoding encode_with_offsets(std::string_view text) const = 0;
  // Bytes that are no valid UTF-8 together come out as U+FFFD. Ids from vocab_size() on have no text: the vocabulary of
  // a model may be larger than the tokenizer's.
  virtual std::string decode(std::span<const int32_t> ids, bool skip_special_tokens = false) const = 0;

  virtual int32_t vocab_size() const = 0;                                  // ids are 0 ... vocab_size-1
  virtual std::optional<int32_t> id_of(std::string_view token) const = 0;  // a token as the vocabulary spells it
  virtual std::string token(int32_t id) const = 0;
  virtual int32_t end_token() const = 0;  // ends a document; -1: the vocabulary has none
  virtual int32_t begin_token() const = 0;
  virtual int32_t pad_token() const = 0;
  virtual int32_t mask_token() const = 0;
  virtual bool is_special(int32_t id) const = 0;  // no text: [CLS], <|endoftext|>, ...
  virtual bool is_named(int32_t id) const = 0;    // one of the special tokens that the folder names
  virtual const Framing& framing() const = 0;     // the template of encode_framed
  virtual int64_t max_length() const = 0;  // with special tokens, by tokenizer_config.json; 0: no limit
  virtual bool truncates_left() const { return false; }  // a text that is too long loses its beginning

  virtual void save(const std::filesystem::path& folder) const = 0;
  // A hash of all files of the saved folder.
  virtual uint64_t digest() const = 0;

  std::vector<int32_t> encode(std::string_view text) const {
    std::vector<int32_t> ids;
    encode(text, ids);
    return ids;
  }
};

// Loads a folder's tokenizer from tokenizer.json, else vocab.json and merges.txt, else vocab.txt. An Error says which
// files were looked for.
struct LoadOptions {
  bool lowers_first = false;  // text is in lower case before the folder's own normalizer sees it
  std::vector<std::string> special_tokens = {};  // are added behind the folder's where it does not have them
};
std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& folder, const LoadOptions& options = {});

// Collects the characters (code points) of texts, which may be too long to be in memory at once.
class CharacterSet {
 public:
  void add(std::string_view text);                         // bad UTF-8 is an Error
  const std::vector<bool>& seen() const { return seen_; }  // by code point

 private:
  std::vector<bool> seen_ = std::vector<bool>(0x110000);
};

// Makes a vocabulary of the characters (code points) of `texts`, in code point order, behind the token "<|endoftext|>"
// (0), which begins and ends a document.
std::unique_ptr<Tokenizer> make_character_tokenizer(const std::vector<std::string_view>& texts);
// Special tokens follow behind the characters.
std::unique_ptr<Tokenizer> make_character_tokenizer(const CharacterSet& characters,
                                                    const std::vector<std::string>& special_tokens = {});
// Makes a vocabulary of symbols of any length, each recognised as a whole, with special tokens behind them.
// Nothing else can be encoded.
std::unique_ptr<Tokenizer> make_symbol_tokenizer(const std::vector<std::string>& symbols,
                                                 const std::vector<std::string>& special_tokens);
// Makes the vocabulary of arithmetic expressions: <pad> <eos> <bos> <start> 0-9 + - * ( ) = . White space is skipped.
std::unique_ptr<Tokenizer> make_arithmetic_tokenizer();
// Makes the vocabulary of problems with their solutions: <pad> <eos> 0-9 + * ( ) = and these special tokens.
std::unique_ptr<Tokenizer> make_problem_tokenizer(const std::vector<std::string>& special_tokens);

}  // namespace engine
