// embed: a vector for each line of a file.
#pragma once

#include <iosfwd>
#include <string>

#include "tasks/embed.h"

namespace engine {

// {"embedding": [...]} for each line of a file. A line that is too long is cut. Returns how many were. A line without a
// token is an Error that names file and line, and so is what cannot be written.
size_t embed_lines(SentenceEncoder& encoder, const std::string& input_file, std::ostream& out);

}  // namespace engine
