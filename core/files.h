// Files that are never half written, and files mapped into memory. Errors name the path and the system's reason.
#pragma once

#include <filesystem>
#include <functional>
#include <iosfwd>
#include <string>
#include <string_view>

namespace engine {

std::string read_text(const std::filesystem::path& file);

// Written aside, synced, and renamed into place: a reader sees the old content or the new, after a crash as well.
void write_file(const std::filesystem::path& file, std::string_view content);
void write_file(const std::filesystem::path& file, const std::function<void(std::ostream&)>& write);

// The same for a folder: `fill` writes into a new folder beside it, which then takes its place (the old one is removed).
void write_folder(const std::filesystem::path& folder, const std::function<void(const std::filesystem::path&)>& fill);

// A file's bytes, read-only, in memory as long as the object lives.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& file);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  const char* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  const char* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace engine
