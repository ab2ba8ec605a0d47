// Tokenizer: text to token ids and back. Every kind loads from and saves to a Hugging Face folder (tokenizer.json,
// tokenizer_config.json and the kind's own files), so that AutoTokenizer gives the same ids.
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

  // Appends the ids of `text` (UTF-8), without special tokens of its own; special tokens written out in the text are
  // recognised. Bad UTF-8 is an Error that gives the byte offset; a character that the vocabulary lacks, one that gives
  // the character and its place. Threads may encode at once.
  virtual void encode(std::string_view text, std::vector<int32_t>& ids) const = 0;
  // The same of a text that goes on where the last one ended: cut where may_cut allows, the ids of the pieces, the
  // first by encode and the others by encode_continued, are those of the whole text.
  virtual void encode_continued(std::string_view text, std::vector<int32_t>& ids) const { encode(text, ids); }
  // Of a place behind a line's end that stands between two visible ASCII characters: whether no token, and nothing that
  // a token takes of its surroundings, reaches across it.
  virtual bool may_cut(std::string_view text, size_t at) const = 0;
  virtual Encoding encode_with_offsets(std::string_view text) const = 0;
  // Bytes that are no valid UTF-8 together come out as U+FFFD. Ids from vocab_size() on have no text: the vocabulary of
  // a model may be larger than the tokenizer's.
  virtual std::string decode(std::span<const int32_t> ids, bool skip_special_tokens = false) const = 0;

  virtual int32_t vocab_size() const = 0;                                  // ids are 0 ... vocab_size-1
  virtual std::optional<int32_t> id_of(std::string_view token) const = 0;  // of a token as the vocabulary spells it
  virtual std::string token(int32_t id) const = 0;
  virtual int32_t end_token() const = 0;  // ends a document; -1: the vocabulary has none
  virtual int32_t begin_token() const = 0;
  virtual int32_t pad_token() const = 0;
  virtual int32_t mask_token() const = 0;
  virtual bool is_special(int32_t id) const = 0;  // no text: [CLS], <|endoftext|>, ...
  virtual const Framing& framing() const = 0;     // what encode_framed puts around texts
  virtual int64_t max_length() const = 0;  // of a framed sequence, as tokenizer_config.json says; 0: it says nothing

  virtual void save(const std::filesystem::path& folder) const = 0;
  // Changes with anything that the saved folder says.
  virtual uint64_t digest() const = 0;

  std::vector<int32_t> encode(std::string_view text) const {
    std::vector<int32_t> ids;
    encode(text, ids);
    return ids;
  }
};

// From a folder: tokenizer.json, else vocab.json and merges.txt, else vocab.txt. An error says which files were looked
// for.
std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& folder);

// The characters (code points) that some texts have, which may be too long to be in memory at once.
class CharacterSet {
 public:
  void add(std::string_view text);                         // bad UTF-8 is an Error
  const std::vector<bool>& seen() const { return seen_; }  // of each code point

 private:
  std::vector<bool> seen_ = std::vector<bool>(0x110000);
};

// The characters (code points) of `texts` as a vocabulary, in code point order, behind the token "<|endoftext|>" (0),
// which begins and ends a document.
std::unique_ptr<Tokenizer> make_character_tokenizer(const std::vector<std::string_view>& texts);
std::unique_ptr<Tokenizer> make_character_tokenizer(const CharacterSet& characters);
// The vocabulary of arithmetic expressions: <pad> <eos> <bos> <start> 0-9 + - * ( ) = ; white space is skipped.
std::unique_ptr<Tokenizer> make_arithmetic_tokenizer();

}  // namespace engine
