// TokenFile: a corpus as token ids in a file that is mapped into memory, so it may be larger than memory.
//
// The file: the ids (2 bytes each where the vocabulary allows, else 4; little-endian), what they were made of as text,
// and 40 bytes: number of ids, bytes of an id, bytes of that text, a hash of the ids, "ENGTOKS2". It is written aside
// and renamed, so it is whole or not there.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/files.h"
#include "text/tokenizer.h"

namespace engine {

class TokenFile {
 public:
  // Opens `cache` if it was made of these files (path, size, time of last change) with this tokenizer, else makes it.
  // Every document is ended by the tokenizer's end token, if it has one.
  TokenFile(const std::filesystem::path& cache, const std::vector<std::string>& files, const Tokenizer& tokenizer);

  int64_t size() const { return count_; }
  uint64_t hash() const { return hash_; }  // of the ids
  // Appends the ids begin ... begin+count-1. An Error if the file holds an id that the tokenizer does not have.
  void append(int64_t begin, int64_t count, std::vector<int32_t>& ids) const;

 private:
  MappedFile file_;
  int64_t count_ = 0, width_ = 0;
  uint64_t hash_ = 0;
  int32_t vocab_size_ = 0;
  std::string path_;
};

}  // namespace engine
