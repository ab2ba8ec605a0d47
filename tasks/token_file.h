// A TokenFile is a corpus as token ids in a file that is mapped into memory, so it may be larger than memory.
//
// The file holds the ids (2 bytes each where the vocabulary allows, else 4; little-endian), a text of what they depend
// on, and 40 bytes with the number of ids, the bytes of an id, the bytes of that text, a hash of the ids, and
// "ENGTOKS2". An id with all bits set is a break, which is the end of a line where ids were taken line by line. The
// file is written aside and renamed, so it is whole or not there.
#pragma once

#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/files.h"
#include "text/tokenizer.h"

namespace engine {

// A TokenMaker turns files into ids, piece by piece, in place of encode_documents. token_break is a break.
struct TokenMaker {
  using Take = std::function<void(std::span<const int32_t> ids)>;
  std::string name;  // differs where the ids would
  std::function<void(const Take& take)> make;
};
inline constexpr int32_t token_break = -1;

class TokenFile {
 public:
  // Opens `cache` if it was made of these files (path, size, time of last change) with this tokenizer, else makes it.
  // Every document is ended by the tokenizer's end token, if it has one.
  TokenFile(const std::filesystem::path& cache, const std::vector<std::string>& files, const Tokenizer& tokenizer);
  // Does the same with ids that `maker` makes of the files.
  TokenFile(const std::filesystem::path& cache, const std::vector<std::string>& files, const Tokenizer& tokenizer,
            const TokenMaker& maker);

  int64_t size() const { return count_; }
  uint64_t hash() const { return hash_; }  // hash of the ids
  // Returns the places of the breaks, ascending.
  std::vector<int64_t> breaks() const;
  // Appends the ids begin ... begin+count-1. Throws an Error if the file holds an id that the tokenizer does not have.
  void append(int64_t begin, int64_t count, std::vector<int32_t>& ids) const;

 private:
  MappedFile file_;
  int64_t count_ = 0, width_ = 0;
  uint64_t hash_ = 0;
  int32_t vocab_size_ = 0;
  std::string path_;
};

}  // namespace engine
