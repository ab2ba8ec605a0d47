#include "commands/lines.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <optional>

#include "core/activity.h"
#include "core/file_bytes.h"
#include "core/standard_streams.h"
#include "text/unicode.h"

namespace engine {

namespace {

constexpr size_t most_bytes = size_t{16} << 20;  // of a batch, but for its last line

// Shows how far a file is read, where its size is known.
class FileActivity {
 public:
  FileActivity(const std::string& file, const char* what) {
    if (!what || !std::filesystem::is_regular_file(file) || isatty(STDOUT_FILENO) == 1) return;
    size_ = std::filesystem::file_size(file);
    activity_.emplace(what, "KiB", kib(size_));
  }
  void add_line(size_t bytes) { bytes_ += bytes + 1; }
  // Comes after the work on the lines that were added.
  void show() {
    if (!activity_) return;
    const int64_t reached = kib(std::min(bytes_, size_));
    activity_->add(reached - told_);
    told_ = reached;
  }

 private:
  static int64_t kib(size_t bytes) { return static_cast<int64_t>((bytes + 1023) / 1024); }

  std::optional<Activity> activity_;
  size_t size_ = 0, bytes_ = 0;
  int64_t told_ = 0;
};

// Reads a line without its end. Returns false behind the last one. A line of more than most_of_a_stream bytes is left
// at that many and one or more, so that a device without an end does not fill the memory.
bool read_line(std::istream& input, std::string& line) {
  line.clear();
  std::array<char, 4096> piece;
  while (line.size() <= most_of_a_stream) {
    input.getline(piece.data(), piece.size());
    const auto count = static_cast<size_t>(input.gcount());
    if (input.eof() || input.bad()) return !line.append(piece.data(), count).empty();
    if (!input.fail()) return line.append(piece.data(), count - 1), true;
    line.append(piece.data(), count);
    input.clear();
  }
  return true;
}

}  // namespace

void in_batches(const std::string& file, const char* what,
                const std::function<void(size_t, const std::vector<std::string>&)>& work, size_t most) {
  if (std::filesystem::is_directory(file)) fail("cannot read ", file, ": this is a folder");
  if (std::filesystem::is_socket(file)) fail("cannot read ", file, ": it is a socket");
  std::ifstream input(file, std::ios::binary);
  if (!input && file == "-") fail("cannot read -: there is no such file; the standard input is /dev/stdin");
  if (!input) fail("cannot read ", file, ": no such file, or no permission");
  FileActivity activity(file, what);
  std::vector<std::string> batch;
  size_t first = 1, bytes = 0;
  const auto work_on_batch = [&] {
    if (!batch.empty()) work(first, batch);
    activity.show();
    first += batch.size();
    batch.clear();
    bytes = 0;
  };
  for (std::string line; read_line(input, line);) {
    if (line.size() > most_of_a_stream)
      fail(file, ":", first + batch.size(), ": the line is longer than ", most_of_a_stream, " bytes");
    activity.add_line(line.size());
    if (first == 1 && batch.empty()) {
      refuse_wrong_kind(line, file);
      line = std::string(text_of_file(line, file));
    }
    if (!line.empty() && line.back() == '\r') line.pop_back();
    bytes += line.size();
    batch.push_back(std::move(line));
    if (batch.size() == most || bytes > most_bytes) work_on_batch();
  }
  if (input.bad()) fail("reading ", file, " failed after line ", first + batch.size() - 1);
  work_on_batch();
}

void flush(std::ostream& out) {
  if (!out.flush()) fail_to_print();
}

std::vector<int32_t> within(std::vector<int32_t> ids, int64_t most, const char* use) {
  if (static_cast<int64_t>(ids.size()) > most) fail(ids.size(), " tokens: the model can ", use, " ", most);
  return ids;
}

}  // namespace engine
