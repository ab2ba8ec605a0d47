// Texts are cut into lines (paragraphs) and sentences.
#pragma once

#include <cstdint>
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

// WordEdges tells the places of a text at which a word is cut in two. A word is a run of letters, digits, _ and the
// marks that belong to them.
class WordEdges {
 public:
  explicit WordEdges(std::string_view text);
  // Whether characters begin ... end-1 begin and end where no word is cut.
  bool are_whole(int32_t begin, int32_t end) const { return !cuts(begin) && !cuts(end); }

 private:
  bool cuts(int32_t place) const {
    const auto at = static_cast<size_t>(place);
    return at > 0 && at < of_word_.size() && of_word_[at - 1] && of_word_[at];
  }
  std::vector<bool> of_word_;  // each character
};

}  // namespace engine
