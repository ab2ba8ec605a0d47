// A TokenFile is a corpus as token ids in a file that is mapped into memory, so it may be larger than memory.
//
// The file holds the ids (2 bytes each where the vocabulary allows, else 4, little-endian), a text about their origin,
// and 40 bytes: number of ids, bytes of an id, bytes of that text, a hash of the ids, "ENGTOKS2". An id whose bits are
// all set is a break, the end of a line where ids were taken line by line. The file is written aside and renamed, so it
// is whole or not there.
#pragma once

#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/files.h"
#include "text/tokenizer.h"

namespace engine {

// Makes ids of files piece by piece, in place of encode_documents. token_break stands for a break.
struct TokenMaker {
  using Take = std::function<void(std::span<const int32_t> ids)>;
  std::string name;  // another one for other ids
  std::function<void(const Take& take)> make;
};
inline constexpr int32_t token_break = -1;

class TokenFile {
 public:
  // Opens `cache` where it was made of these files (path, size, time of last change) with this tokenizer, else makes
  // it. Every document is ended by the tokenizer's end token, if it has one.
  TokenFile(const std::filesystem::path& cache, const std::vector<std::string>& files, const Tokenizer& tokenizer);
  // The same with the ids that `maker` makes of the files.
  TokenFile(const std::filesystem::path& cache, const std::vector<std::string>& files, const Tokenizer& tokenizer,
            const TokenMaker& maker);

  int64_t size() const { return count_; }
  uint64_t hash() const { return hash_; }  // the ids' hash
  // The places of the breaks, ascending.
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
