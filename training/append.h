// Files that grow: a piece is appended in one write, so that a killed process leaves whole pieces but perhaps the last.
#pragma once

#include <filesystem>
#include <string_view>

namespace engine {

int open_to_append(const std::filesystem::path& file);  // makes it where it is not there
void append_to(int file, const std::filesystem::path& path, std::string_view piece);

}  // namespace engine
