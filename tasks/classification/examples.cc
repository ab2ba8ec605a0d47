#include "tasks/classification/examples.h"

#include <algorithm>
#include <optional>
#include <string_view>

#include "core/error.h"
#include "core/files.h"
#include "text/unicode.h"

namespace engine {

namespace {

std::vector<std::string_view> split(std::string_view line) {
  std::vector<std::string_view> columns;
  for (size_t begin = 0;; ++begin) {
    const size_t end = std::min(line.find('\t', begin), line.size());
    columns.push_back(line.substr(begin, end - begin));
    if (end == line.size()) return columns;
    begin = end;
  }
}

std::string_view trimmed(std::string_view text) {
  const auto is_space = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

// Which column holds what.
struct Columns {
  size_t count = 0, sentence = 0;
  std::optional<size_t> label, index;
};

std::optional<Columns> read_header(const std::vector<std::string_view>& names) {
  Columns columns{.count = names.size(), .label = {}, .index = {}};
  bool has_sentence = false;
  for (size_t i = 0; i < names.size(); ++i) {
    const std::string_view name = trimmed(names[i]);
    if (name == "sentence") columns.sentence = i, has_sentence = true;
    else if (name == "label") columns.label = i;
    else if (name == "index") columns.index = i;
    else return {};
  }
  if (!has_sentence) return {};
  return columns;
}

int32_t read_label(std::string_view text, const std::string& where) {
  text = trimmed(text);
  if (text == "0") return 0;
  if (text == "1") return 1;
  fail(where, ": the label is \"", text.substr(0, 40), "\": it should be 0 or 1");
}

}  // namespace

ExampleFile read_examples(const std::filesystem::path& path, GlueFormat format) {
  const MappedFile mapped(path);
  std::string_view rest(mapped.data(), mapped.size());
  if (rest.starts_with("\xEF\xBB\xBF")) rest.remove_prefix(3);
  ExampleFile file;
  std::optional<Columns> columns;
  if (format == GlueFormat::cola) columns = Columns{.count = 4, .sentence = 3, .label = 1, .index = {}};
  for (size_t line_number = 1; !rest.empty(); ++line_number) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    const std::string where = path.string() + ":" + std::to_string(line_number);
    if (const size_t bad = find_invalid_utf8(line); bad < line.size())
      fail(where, ": is not UTF-8 at byte ", bad + 1, " of the line: convert the file, for instance with iconv");
    const std::vector<std::string_view> cells = split(line);
    if (line_number == 1) {
      if (const auto header = read_header(cells)) {
        columns = header;
        continue;
      }
      if (!columns)
        fail(where, ": is no header: a file for sst2 begins with the names of its columns, sentence<TAB>label or "
             "index<TAB>sentence");
    }
    if (trimmed(line).empty() && rest.empty()) break;  // a blank last line
    if (cells.size() != columns->count)
      fail(where, ": has ", cells.size(), " columns: ", columns->count, " were expected",
           format == GlueFormat::cola && columns->count == 4 ? ", source, label, mark and sentence" : "",
           ", with a tab between them");
    Example example;
    example.line = line_number;
    if (columns->label) example.label = read_label(cells[*columns->label], where);
    example.text = trimmed(cells[columns->sentence]);
    example.index = columns->index ? std::string(trimmed(cells[*columns->index]))
                                   : std::to_string(file.examples.size());
    if (example.text.empty()) ++file.empty;
    file.examples.push_back(std::move(example));
  }
  if (file.examples.empty()) fail(path.string(), ": holds no sentence");
  file.labelled = columns->label.has_value();
  return file;
}

}  // namespace engine
