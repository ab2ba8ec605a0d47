// Text files hold documents. A .jsonl file has one a line (its field "text"), any other file is one document.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace engine {

// A piece is part of a document, or all of it.
struct DocumentPiece {
  std::string_view text;
  bool begins = true, ends = true;  // begins or ends a document
  const std::string& file;
  size_t line = 1;  // line of the file where the piece begins
};

inline constexpr size_t usual_piece_bytes = size_t{1} << 20;

// Goes through the documents of the files, in order, piece by piece, so that a file may be larger than memory. A file
// of text is cut at or behind piece_bytes, behind a line's end between two visible ASCII characters, where the
// tokenizer, if there is one, allows it (Tokenizer::may_cut). Throws an Error for a missing or empty file, for bad
// UTF-8 (with file and byte) and for a line of a .jsonl file without a text (with file and line). Blank lines are
// skipped.
void for_each_piece(const std::vector<std::string>& files, const std::function<void(const DocumentPiece&)>& piece,
                    const Tokenizer* tokenizer = nullptr, size_t piece_bytes = usual_piece_bytes);

// Calls take(ids) piece by piece. Each document ends with the tokenizer's end token if it has one. A text that cannot
// be encoded is an Error with file and line.
void encode_documents(const std::vector<std::string>& files, const Tokenizer& tokenizer,
                      const std::function<void(std::span<const int32_t> ids)>& take,
                      size_t piece_bytes = usual_piece_bytes);

// Makes a vocabulary of the characters that the files hold.
std::unique_ptr<Tokenizer> make_tokenizer_of_characters(const std::vector<std::string>& files);

}  // namespace engine
