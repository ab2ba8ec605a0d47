#include "commands/lines.h"

#include <filesystem>
#include <fstream>

#include "core/files.h"
#include "core/standard_streams.h"
#include "text/unicode.h"

namespace engine {

void in_batches(const std::string& file, const std::function<void(size_t, const std::vector<std::string>&)>& work,
                size_t most) {
  if (std::filesystem::is_directory(file)) fail("cannot read ", file, ": this is a folder");
  std::ifstream input(file, std::ios::binary);
  if (!input && file == "-") fail("cannot read -: there is no such file; the standard input is /dev/stdin");
  if (!input) fail("cannot read ", file, ": no such file, or no permission");
  std::vector<std::string> batch;
  size_t first = 1;
  const auto work_on_batch = [&] {
    if (!batch.empty()) work(first, batch);
    first += batch.size();
    batch.clear();
  };
  for (std::string line; std::getline(input, line);) {
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
