#include "core/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <ostream>
#include <streambuf>
#include <system_error>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/file_bytes.h"
#include "core/folders.h"
#include "core/uninterrupted.h"

namespace engine {

namespace fs = std::filesystem;

namespace {

[[noreturn]] void fail_to(const char* act, const fs::path& path, int error) {
  fail("cannot ", act, " ", path.string(), ": ", std::generic_category().message(error));
}

// Holds an open file, and closes it at the end of its scope.
class Descriptor {
 public:
  Descriptor(const fs::path& path, int flags)
      : number_(uninterrupted([&] { return ::open(path.c_str(), flags | O_CLOEXEC, 0666); })) {}
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int number() const { return number_; }
  explicit operator bool() const { return number_ >= 0; }

 private:
  int number_;
};

// Returns what a file is that was opened to be read. An Error where it was not, or is a folder.
struct stat status_of(const Descriptor& file, const fs::path& path) {
  struct stat status {};
  const int error = errno;
  std::error_code ignored;
  // The system's error does not say this.
  if (!file && fs::is_socket(path, ignored)) fail("cannot read ", path.string(), ": it is a socket");
  if (!file) fail_to("read", path, error);
  if (fstat(file.number(), &status) != 0) fail_to("read", path, errno);
  if (S_ISDIR(status.st_mode)) fail_to("read", path, EISDIR);
  return status;
}

void require_regular(const struct stat& status, const fs::path& path) {
  if (S_ISREG(status.st_mode)) return;
  fail("cannot read ", path.string(), ": it is a ", S_ISFIFO(status.st_mode) ? "pipe" : "device",
       ", not a file: write what it gives into a file");
}

void sync(const Descriptor& file, const fs::path& path) {
  // EINVAL and ENOTSUP come from a pipe, a device, or a file system whose folders cannot be synced.
  const bool is_synced = uninterrupted([&] { return fsync(file.number()); }) == 0;
  if (!is_synced && errno != EINVAL && errno != ENOTSUP && errno != EROFS) fail_to("sync", path, errno);
}

void sync_path(const fs::path& path) {
  const Descriptor file(path, O_RDONLY);
  if (!file) fail_to("sync", path, errno);
  sync(file, path);
}

fs::path parent_of(const fs::path& path) { return path.has_parent_path() ? path.parent_path() : fs::path("."); }

fs::path sibling(const fs::path& path, const char* ending) {
  std::string name = ".";
  name.append(path.filename().string()).append(ending);
  return parent_of(path) / name;
}

// Waits until no other process or thread holds the lock. False where the path names another file by then, because the
// holder of the lock has renamed or removed this one. On a file system without locks writers do not wait.
bool lock(const Descriptor& file, const fs::path& path) {
  static_cast<void>(uninterrupted([&] { return flock(file.number(), LOCK_EX); }));
  struct stat opened {}, named {};
  return fstat(file.number(), &opened) == 0 && ::stat(path.c_str(), &named) == 0 && opened.st_ino == named.st_ino &&
         opened.st_dev == named.st_dev;
}

// The buffer of the stream that write_file hands out. Every failed or short write throws an Error with the path.
class FileBuffer final : public std::streambuf {
 public:
  FileBuffer(const Descriptor& file, const fs::path& path) : file_(file), path_(path), buffer_(size_t{1} << 16) {
    setp(buffer_.data(), buffer_.data() + buffer_.size());
  }
  void flush() {
    write(pbase(), static_cast<size_t>(pptr() - pbase()));
    setp(buffer_.data(), buffer_.data() + buffer_.size());
  }

 private:
  int_type overflow(int_type c) override {
    flush();
    if (traits_type::eq_int_type(c, traits_type::eof())) return traits_type::not_eof(c);
    return sputc(traits_type::to_char_type(c));
  }
  std::streamsize xsputn(const char* data, std::streamsize count) override {
    if (count < epptr() - pptr()) {
      traits_type::copy(pptr(), data, static_cast<size_t>(count));
      pbump(static_cast<int>(count));
    } else {
      flush();
      write(data, static_cast<size_t>(count));
    }
    return count;
  }
  int sync() override {
    flush();
    return 0;
  }
  void write(const char* data, size_t count) {
    if (!write_all(file_.number(), {data, count})) fail_to("write", path_, errno);
  }

  const Descriptor& file_;
  const fs::path& path_;
  std::vector<char> buffer_;
};

void write_through(const Descriptor& file, const fs::path& path, const std::function<void(std::ostream&)>& write) {
  // A write beyond the size limit of the process then fails with an error, and does not end the process.
  std::signal(SIGXFSZ, SIG_IGN);
  FileBuffer buffer(file, path);
  std::ostream stream(&buffer);
  stream.exceptions(std::ios::badbit);  // the caller gets the buffer's Error
  write(stream);
  buffer.flush();
  sync(file, path);
}

// Removes a file or a folder with all that it holds, if it is there.
void remove_tree(const fs::path& path) {
  std::error_code error;
  do fs::remove_all(path, error);
  while (error == std::errc::interrupted);
  if (error) fail_to("remove", path, error.value());
}

// Syncs all that a folder holds, but not the folder itself.
void sync_content(const fs::path& folder) {
  for (const fs::path& path : entries_of(folder)) {
    const bool is_folder = fs::is_directory(fs::symlink_status(path));
    if (is_folder) sync_content(path);
    if (is_folder || fs::is_regular_file(fs::symlink_status(path))) sync_path(path);
  }
}

fs::path without_links(const fs::path& path) {
  std::error_code error;
  fs::path clean = path.lexically_normal();
  if (!clean.has_filename()) clean = clean.parent_path();
  if (!fs::is_symlink(clean, error)) return clean;
  const fs::path target = fs::canonical(clean, error);
  if (error) fail_to("write", path, error.value());
  return target;
}

}  // namespace

std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code error;
  fs::directory_iterator at;
  do at = fs::directory_iterator(folder, error);
  while (error == std::errc::interrupted);
  for (; !error && at != fs::directory_iterator(); at.increment(error)) entries.push_back(at->path());
  if (error) fail_to("read", folder, error.value());
  return entries;
}

void require_regular(const fs::path& path) {
  // A pipe that nobody writes to is not waited for.
  require_regular(status_of(Descriptor(path, O_RDONLY | O_NONBLOCK), path), path);
}

std::string read_text(const fs::path& path) {
  const Descriptor file(path, O_RDONLY);
  const struct stat status = status_of(file, path);
  std::string text;
  text.resize(static_cast<size_t>(std::max<off_t>(status.st_size, 0)) + 4096);
  size_t size = 0;
  while (true) {
    const ssize_t count = uninterrupted([&] { return ::read(file.number(), text.data() + size, text.size() - size); });
    if (count < 0) fail_to("read", path, errno);
    size += static_cast<size_t>(count);
    if (count == 0) break;
    if (!S_ISREG(status.st_mode) && size > most_of_a_stream)
      fail("cannot read ", path.string(), ": it is a ", S_ISCHR(status.st_mode) ? "device" : "pipe",
           " that gives more than ", most_of_a_stream, " bytes: write what it gives into a file");
    if (size == text.size()) text.resize(2 * size);
  }
  text.resize(size);
  refuse_wrong_kind(text, path);
  return text;
}

void write_file(const fs::path& file, std::string_view content) {
  write_file(file, [&](std::ostream& out) { out.write(content.data(), static_cast<std::streamsize>(content.size())); });
}

void write_file(const fs::path& path, const std::function<void(std::ostream&)>& write) {
  const fs::path target = without_links(path);
  struct stat old {};
  const bool exists = ::stat(target.c_str(), &old) == 0;
  if (exists && S_ISDIR(old.st_mode)) fail_to("write", path, EISDIR);
  if (exists && !S_ISREG(old.st_mode)) {
    const Descriptor device(target, O_WRONLY);
    if (!device) fail_to("write", path, errno);
    return write_through(device, path, write);
  }
  const fs::path aside = sibling(target, ".writing");
  while (true) {
    const Descriptor file(aside, O_WRONLY | O_CREAT);
    if (!file && errno == ENOENT)
      fail("cannot write ", path.string(), ": there is no folder ", parent_of(target).string());
    if (!file) fail_to("write", path, errno);
    if (!lock(file, aside)) continue;
    if (uninterrupted([&] { return ftruncate(file.number(), 0); }) != 0) fail_to("write", path, errno);
    try {
      if (exists) static_cast<void>(fchmod(file.number(), old.st_mode & 07777u));
      write_through(file, path, write);
      if (::rename(aside.c_str(), target.c_str()) != 0) fail_to("write", path, errno);
    } catch (...) {
      ::unlink(aside.c_str());
      throw;
    }
    sync_path(parent_of(target));
    return;
  }
}

namespace detail {

void swap_folder(const fs::path& folder, const fs::path& filled, bool can_exchange) {
  const fs::path parent = parent_of(folder), old = sibling(folder, ".old");
  if (!fs::exists(folder)) {
    if (::rename(filled.c_str(), folder.c_str()) != 0) fail_to("write", folder, errno);
    return sync_path(parent);
  }
  // The old folder gets the name that writers wait for, so that it stays locked until it is gone.
  const Descriptor former(folder, O_RDONLY | O_DIRECTORY);
  if (!former) fail_to("write", folder, errno);
  lock(former, folder);
  const auto is_unsupported = [](int error) { return error == EINVAL || error == ENOSYS || error == ENOTSUP; };
  bool exchanged = false;
  if (can_exchange) {
    exchanged = renameat2(AT_FDCWD, filled.c_str(), AT_FDCWD, folder.c_str(), RENAME_EXCHANGE) == 0;
    if (!exchanged && !is_unsupported(errno)) fail_to("write", folder, errno);
  }
  if (!exchanged) {
    if (::rename(folder.c_str(), old.c_str()) != 0) fail_to("write", folder, errno);
    if (::rename(filled.c_str(), folder.c_str()) != 0) {
      const int error = errno;
      static_cast<void>(::rename(old.c_str(), folder.c_str()));
      fail_to("write", folder, error);
    }
  }
  sync_path(parent);
  std::error_code ignored;  // the next writer removes what is left
  fs::remove_all(exchanged ? filled : old, ignored);
}

}  // namespace detail

void write_folder(const fs::path& path, const std::function<void(const fs::path&)>& fill) {
  const fs::path folder = without_links(path), aside = sibling(folder, ".writing"), old = sibling(folder, ".old");
  std::error_code error;
  make_folders(parent_of(folder));
  while (true) {
    if (::mkdir(aside.c_str(), 0777) != 0 && errno != EEXIST) fail_to("write", path, errno);
    const Descriptor locked(aside, O_RDONLY | O_DIRECTORY);
    if (!locked && errno == ENOENT) continue;
    if (!locked) fail_to("write", path, errno);
    if (!lock(locked, aside)) continue;
    try {
      if (fs::exists(old) && !fs::exists(folder)) fs::rename(old, folder);
      remove_tree(old);
      if (fs::exists(folder) && !fs::is_directory(folder)) fail_to("write", path, ENOTDIR);
      for (const fs::path& left_behind : entries_of(aside)) remove_tree(left_behind);
      fill(aside);
      sync_content(aside);
      sync(locked, aside);
      detail::swap_folder(folder, aside, true);
    } catch (const fs::filesystem_error& failure) {
      fs::remove_all(aside, error);
      fail_to("write", failure.path1(), failure.code().value());
    } catch (...) {
      fs::remove_all(aside, error);
      throw;
    }
    return;
  }
}

fs::path written_folder(const fs::path& folder) {
  std::error_code error;
  if (fs::exists(folder, error)) return folder;
  fs::path clean = folder.lexically_normal();
  if (!clean.has_filename()) clean = clean.parent_path();
  const fs::path old = sibling(clean, ".old");
  return fs::exists(old, error) ? old : folder;
}

std::string name_behind_aside(const std::string& name) {
  for (const std::string end : {".old", ".writing"})
    if (name.starts_with('.') && name.ends_with(end) && name.size() > 1 + end.size())
      return name_behind_aside(name.substr(1, name.size() - 1 - end.size()));
  return name;
}

void refuse_wrong_kind(std::string_view beginning, const fs::path& file) {
  using namespace std::string_view_literals;
  if (beginning.starts_with("version https://git-lfs.github.com/spec/"))
    fail(file.string(), ": is a Git LFS pointer, not the file itself: `git lfs pull` in its folder brings the file");
  // Safetensors begin with a number of eight bytes, which can look like any of these, and then with a brace.
  if (beginning.size() < 9 || beginning[8] == '{') return;
  constexpr std::pair<std::string_view, const char*> kinds[] = {
      {"\x1f\x8b\x08"sv, "compressed with gzip: gunzip -k decompresses it"},
      {"BZh91AY&SY"sv, "compressed with bzip2: bunzip2 -k decompresses it"},
      {"\xfd" "7zXZ\0"sv, "compressed with xz: unxz -k decompresses it"},
      {"\x28\xb5\x2f\xfd"sv, "compressed with zstd: unzstd decompresses it"},
      {"PK\x03\x04"sv, "a ZIP archive, as PyTorch's .bin and .pt are: unpack it, or save the model as safetensors"},
      {"PAR1\x15"sv, "a Parquet file: write its texts as .jsonl, an object with a \"text\" a line"}};
  for (const auto& [magic, what] : kinds)
    if (beginning.starts_with(magic)) fail(file.string(), ": is ", what);
}

MappedFile::MappedFile(const fs::path& path) {
  const Descriptor file(path, O_RDONLY | O_NONBLOCK);
  const struct stat status = status_of(file, path);
  require_regular(status, path);
  size_ = static_cast<size_t>(status.st_size);
  if (size_ == 0) return;
  void* data = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.number(), 0);
  if (data == MAP_FAILED) fail_to("read", path, errno);
  data_ = static_cast<const char*>(data);
  try {
    refuse_wrong_kind({data_, size_}, path);
  } catch (...) {
    munmap(data, size_);
    throw;
  }
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile::~MappedFile() {
  if (data_) munmap(const_cast<char*>(data_), size_);
}

void MappedFile::forget(const char* begin, size_t bytes) const {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE)), first = static_cast<size_t>(begin - data_);
  const size_t from = (first + page - 1) / page * page, to = (first + bytes) / page * page;
  if (from < to) madvise(const_cast<char*>(data_) + from, to - from, MADV_DONTNEED);
}

FileBytes::FileBytes(const fs::path& path) {
  std::error_code error;
  const fs::file_type kind = fs::status(path, error).type();
  if (kind == fs::file_type::fifo || kind == fs::file_type::character) piped_ = read_text(path);
  else mapped_.emplace(path);
}

}  // namespace engine
