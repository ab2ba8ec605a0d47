// The bytes of files that may be pipes or devices.
#pragma once

#include <optional>

#include "core/files.h"

namespace engine {

// The most bytes that a pipe or a device may give where all that it gives is kept. Some have no end.
inline constexpr size_t most_of_a_stream = size_t{256} << 20;

// An Error where this is no regular file, which can be read again from its beginning: a pipe, a device, a folder.
void require_regular(const std::filesystem::path& file);

// The bytes of a file that is read once. A regular file is mapped, and of a pipe or a device all is read.
class FileBytes {
 public:
  explicit FileBytes(const std::filesystem::path& file);
  std::string_view text() const { return mapped_ ? std::string_view(mapped_->data(), mapped_->size()) : piped_; }

 private:
  std::optional<MappedFile> mapped_;
  std::string piped_;
};

}  // namespace engine
