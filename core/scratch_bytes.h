// ScratchBytes are bytes that are appended and then read. As long as they are few they are in memory. More are in a
// file that is mapped into memory, so that they may be larger than it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace engine {

class ScratchBytes {
 public:
  ScratchBytes() = default;
  // More bytes than `most_in_memory` go into a file in `folder`, which is made if it is not there. The file has no
  // name, so that it goes with the object, also where the process is killed.
  ScratchBytes(std::filesystem::path folder, size_t most_in_memory);
  ~ScratchBytes();
  ScratchBytes(ScratchBytes&& other) noexcept;
  ScratchBytes& operator=(ScratchBytes&& other) noexcept;

  void append(std::string_view bytes);
  void finish();  // comes behind the last append, and before bytes()
  std::string_view bytes() const { return mapped_ ? std::string_view(mapped_, size_) : std::string_view(buffer_); }
  size_t size() const { return size_; }
  bool is_in_file() const { return file_ >= 0 || mapped_; }

 private:
  void open_file();
  void flush();  // writes the buffer into the file
  [[noreturn]] void fail_to(const char* act) const;

  std::filesystem::path folder_;
  size_t most_in_memory_ = SIZE_MAX, size_ = 0;
  std::string buffer_;  // of all bytes, or of those that the file does not have yet
  int file_ = -1;
  const char* mapped_ = nullptr;
};

}  // namespace engine
