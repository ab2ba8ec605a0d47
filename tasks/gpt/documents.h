// The documents of text files: a .jsonl file holds one a line (its field "text"), any other file is one document.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace engine {

// Goes through the documents of the files, in order, piece by piece, so that a file may be larger than memory:
// piece(text, ends_document). Pieces are cut only where no tokenizer lets a token reach across: behind a line's end
// between two visible ASCII characters. Errors: a missing or empty file; bad UTF-8 with file and byte; a line of a
// .jsonl file that has no text, with file and line (blank lines are passed over).
void for_each_piece(const std::vector<std::string>& files,
                    const std::function<void(std::string_view text, bool ends_document)>& piece);

// A vocabulary of the characters that the files hold.
std::unique_ptr<Tokenizer> make_tokenizer_of_characters(const std::vector<std::string>& files);

}  // namespace engine
