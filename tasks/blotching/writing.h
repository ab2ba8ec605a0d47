// The model writes solutions.
#pragma once

#include "tasks/blotching/rows.h"
#include "tasks/shared_generation.h"

namespace engine {

// A Writing is all that the model needs to write with.
struct Writing {
  const SharedGenerator& generator;
  const RowFormat& format;
  int level = 0;           // of the blotch token that its rows begin with
  double temperature = 0;  // 0: the likeliest token
  uint64_t seed = 1;       // of the draws
  size_t most_tokens = 0;  // of a solution, its end included
};

// Returns the row "problem=...=answer" that the model writes for each problem. One that does not end, or has a token
// that is no text, has a '?' in it. All ranks call it, and each writes its share.
std::vector<std::string> write_rows(const Writing& writing, std::span<const std::string> problems);

// Tells whether a written row is whole, and has the answer of the right one.
inline bool is_right(std::string_view written, std::string_view right) {
  return written.find('?') == std::string_view::npos && answer_of(written) == answer_of(right);
}

// The tokens of a row's solution, its end included.
inline size_t solution_tokens(std::string_view row) { return row.size() - row.find('='); }

}  // namespace engine
