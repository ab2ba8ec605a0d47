// Folders that are made with those above them.
#pragma once

#include <filesystem>

namespace engine {

// Makes the folder and those above it that are missing. Throws an Error that names the folder that could not be made,
// and the reason.
void make_folders(const std::filesystem::path& folder);

}  // namespace engine
