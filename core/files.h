// Writes files that are never half written, and maps files into memory. Errors name the path and the system's reason.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

namespace engine {

// Returns the paths of what a folder holds, in no order.
std::vector<std::filesystem::path> entries_of(const std::filesystem::path& folder);

// Reads a whole file, or all that a pipe gives. A device without an end is an Error.
std::string read_text(const std::filesystem::path& file);

// Writes ".NAME.writing" beside the file, syncs it and renames it into place, so that a reader sees the old content or
// the new one, after a crash as well. The next writer overwrites what a killed one left. Writers of one file wait for
// each other. A link is followed. A pipe or device is written as it is.
void write_file(const std::filesystem::path& file, std::string_view content);
void write_file(const std::filesystem::path& file, const std::function<void(std::ostream&)>& write);

// Writes a folder in the same way: `fill` writes into a new folder beside it (".NAME.writing"), which then takes its
// place by an exchange of the two names in one step, and the old one is removed. On a file system that cannot exchange
// names the old folder is first renamed to ".NAME.old". A writer that is killed right then leaves the folder absent and
// its content there, and the next writer puts it back. Parent folders are made.
void write_folder(const std::filesystem::path& folder, const std::function<void(const std::filesystem::path&)>& fill);

// Returns where to read a folder that write_folder writes: `folder`, or the ".NAME.old" that a killed writer left.
std::filesystem::path written_folder(const std::filesystem::path& folder);

// NAME for ".NAME.old" and ".NAME.writing", which killed writers of NAME leave behind. Any other name is returned as it
// is.
std::string name_behind_aside(const std::string& name);

namespace detail {
// Does the last step of write_folder: `filled` becomes `folder`. It is a function so that tests reach both ways.
void swap_folder(const std::filesystem::path& folder, const std::filesystem::path& filled, bool can_exchange);
}  // namespace detail

// An Error where a file that begins with these bytes is a pointer of Git LFS, which stands in the place of a large file
// in a clone without `git lfs`, or is compressed, or of a kind that nothing here reads. read_text and MappedFile check
// this.
void refuse_wrong_kind(std::string_view beginning, const std::filesystem::path& file);

// Maps a file's bytes into memory, read-only, as long as the object lives.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& file);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  const char* data() const { return data_; }
  size_t size() const { return size_; }
  // Gives back the memory of the whole pages among these bytes. Reading them again is right, but slower.
  void forget(const char* begin, size_t bytes) const;

 private:
  const char* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace engine
