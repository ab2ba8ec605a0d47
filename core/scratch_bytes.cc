#include "core/scratch_bytes.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <system_error>
#include <utility>

#include "core/error.h"
#include "core/folders.h"
#include "core/uninterrupted.h"

namespace engine {

namespace {

constexpr size_t buffer_bytes = size_t{1} << 20;

}  // namespace

ScratchBytes::ScratchBytes(std::filesystem::path folder, size_t most_in_memory)
    : folder_(std::move(folder)), most_in_memory_(most_in_memory) {}

ScratchBytes::~ScratchBytes() {
  if (mapped_) munmap(const_cast<char*>(mapped_), size_);
  if (file_ >= 0) close(file_);
}

ScratchBytes::ScratchBytes(ScratchBytes&& other) noexcept { *this = std::move(other); }

ScratchBytes& ScratchBytes::operator=(ScratchBytes&& other) noexcept {
  std::swap(folder_, other.folder_);
  std::swap(most_in_memory_, other.most_in_memory_);
  std::swap(size_, other.size_);
  std::swap(buffer_, other.buffer_);
  std::swap(file_, other.file_);
  std::swap(mapped_, other.mapped_);
  return *this;
}

void ScratchBytes::append(std::string_view bytes) {
  buffer_ += bytes;
  size_ += bytes.size();
  if (file_ < 0 && size_ > most_in_memory_) open_file();
  if (file_ >= 0 && buffer_.size() >= buffer_bytes) flush();
}

void ScratchBytes::finish() {
  if (file_ < 0) return buffer_.shrink_to_fit();
  flush();
  buffer_ = {};
  void* const data = mmap(nullptr, size_, PROT_READ, MAP_SHARED, file_, 0);
  if (data == MAP_FAILED) fail_to("map");
  mapped_ = static_cast<const char*>(data);
  close(std::exchange(file_, -1));
}

void ScratchBytes::open_file() {
  make_folders(folder_);
  std::string name = (folder_ / "scratch_XXXXXX").string();
  file_ = mkostemp(name.data(), O_CLOEXEC);
  if (file_ < 0 || unlink(name.c_str()) != 0) fail_to("make");
}

void ScratchBytes::flush() {
  if (!write_all(file_, buffer_)) fail_to("write");
  buffer_.clear();
}

void ScratchBytes::fail_to(const char* act) const {
  fail("cannot ", act, " a file of ", size_, " bytes in ", folder_.string(), ": ",
       std::generic_category().message(errno));
}

}  // namespace engine
