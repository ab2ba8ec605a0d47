// Texts are cut into lines (paragraphs) and sentences.
#pragma once

#include <string_view>
#include <utility>
#include <vector>

namespace engine {

using ByteRange = std::pair<size_t, size_t>;  // [begin, end)

// Returns the lines of a text, without their line ends. A text without a line end is one line.
std::vector<ByteRange> lines_of(std::string_view text);

// Returns the sentences of a text, which together are all of it: a sentence ends behind the white space that follows a
// full stop, a danda, a question mark or an exclamation mark, and at a line's end.
std::vector<ByteRange> sentences_of(std::string_view text);

}  // namespace engine
