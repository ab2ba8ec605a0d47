// A language whose words are letters: the tokenizer of it, in a folder. Token 5 + i is the i-th letter.
#pragma once

#include <filesystem>
#include <string>

#include "core/files.h"

namespace engine::test {

inline void write_letters(const std::filesystem::path& folder) {
  std::string vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";
  for (char letter = 'a'; letter <= 'z'; ++letter) {
    vocabulary += letter;
    vocabulary += '\n';
  }
  std::filesystem::create_directories(folder);
  write_file(folder / "vocab.txt", vocabulary);
}

}  // namespace engine::test
