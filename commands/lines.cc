#include "commands/lines.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>

#include "core/activity.h"
#include "core/files.h"
#include "core/standard_streams.h"
#include "text/unicode.h"

namespace engine {

namespace {

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

}  // namespace

void in_batches(const std::string& file, const char* what,
                const std::function<void(size_t, const std::vector<std::string>&)>& work, size_t most) {
  if (std::filesystem::is_directory(file)) fail("cannot read ", file, ": this is a folder");
  std::ifstream input(file, std::ios::binary);
  if (!input && file == "-") fail("cannot read -: there is no such file; the standard input is /dev/stdin");
  if (!input) fail("cannot read ", file, ": no such file, or no permission");
  FileActivity activity(file, what);
  std::vector<std::string> batch;
  size_t first = 1;
  const auto work_on_batch = [&] {
    if (!batch.empty()) work(first, batch);
    activity.show();
    first += batch.size();
    batch.clear();
  };
  for (std::string line; std::getline(input, line);) {
    activity.add_line(line.size());
    if (first == 1 && batch.empty()) {
      refuse_wrong_kind(line, file);
      line = std::string(text_of_file(line, file));
    }
    if (!line.empty() && line.back() == '\r') line.pop_back();
    batch.push_back(std::move(line));
    if (batch.size() == most) work_on_batch();
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
