// Files that grow receive each piece in one write. A killed process leaves whole pieces, except perhaps the last.
#pragma once

#include <filesystem>
#include <string_view>

namespace engine {

int open_to_append(const std::filesystem::path& file);  // creates a missing file
// Throws an Error where the file system tells only now that an earlier piece was not written.
void close_appended(int file, const std::filesystem::path& path);
void append_to(int file, const std::filesystem::path& path, std::string_view piece);

}  // namespace engine
