// embed: a vector for each line of a file.
#pragma once

#include <iosfwd>
#include <string>

#include "tasks/embed.h"

namespace engine {

enum class VectorsFormat { jsonl, npy };

// {"embedding": [...]} for each line of a file, or one .npy array with a row a line, for which the file is read twice.
// A line that is too long is cut. Returns how many were. A line without a token is an Error that names file and line.
// A failed write is an Error.
size_t embed_lines(SentenceEncoder& encoder, const std::string& input_file, std::ostream& out,
                   VectorsFormat format = VectorsFormat::jsonl);

}  // namespace engine
