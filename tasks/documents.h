// Text files hold documents: a .jsonl or .json file one a line (its field "text"), any other file is one document.
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
  bool begins = true, ends = true;  // it begins or ends a document
  const std::string& file;
  size_t line = 1;  // at which the piece begins
};

// Returns how a file's name ends, in lower case, with the point: ".csv".
std::string lower_ending(const std::filesystem::path& file);
// Says whether a file's name ends with .jsonl or .json.
bool has_json_lines(const std::string& file);

inline constexpr size_t usual_piece_bytes = size_t{1} << 20;

// Goes through the documents of the files, in order, piece by piece, so that a file may be larger than memory. A file
// of text is cut behind a line's end between two visible ASCII characters, where the tokenizer, if there is one, says
// that it may be (Tokenizer::may_cut), at or behind piece_bytes. Errors: a missing or empty file; bad UTF-8 with file
// and byte; a line of a .jsonl file that is no object with a "text", with file and line; a table, by its name's end.
// Blank lines of a .jsonl file are passed over, and so are documents without text. Returns how many of the latter there
// are.
size_t for_each_piece(const std::vector<std::string>& files, const std::function<void(const DocumentPiece&)>& piece,
                      const Tokenizer* tokenizer = nullptr, size_t piece_bytes = usual_piece_bytes);

// Calls take(ids) for each piece of every document, with the tokenizer's end token behind a document if it has one.
// Text that cannot be encoded is an Error with file and line. Returns how many documents without text were passed over.
size_t encode_documents(const std::vector<std::string>& files, const Tokenizer& tokenizer,
                        const std::function<void(std::span<const int32_t> ids)>& take,
                        size_t piece_bytes = usual_piece_bytes);

// The same with the piece that the ids are of.
size_t encode_pieces(const std::vector<std::string>& files, const Tokenizer& tokenizer,
                     const std::function<void(const DocumentPiece& piece, std::span<const int32_t> ids)>& take,
                     size_t piece_bytes = usual_piece_bytes);

// Makes a vocabulary of the characters that the files hold, with special tokens behind them.
std::unique_ptr<Tokenizer> make_tokenizer_of_characters(const std::vector<std::string>& files,
                                                        const std::vector<std::string>& special_tokens = {});

}  // namespace engine
