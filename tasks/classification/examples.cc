#include "tasks/classification/examples.h"

#include <algorithm>
#include <optional>
#include <string_view>

#include "core/error.h"
#include "core/file_bytes.h"
#include "text/unicode.h"

namespace engine {

namespace {

std::vector<std::string_view> split(std::string_view line, char separator = '\t') {
  std::vector<std::string_view> columns;
  for (size_t begin = 0;; ++begin) {
    const size_t end = std::min(line.find(separator, begin), line.size());
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

// The places of the columns in a line.
struct GlueColumns {
  bool has_header = false;
  size_t count = 0, sentence = 0;
  std::optional<size_t> label, index;
};

constexpr char columns_wanted[] = "sentence, label (where there are labels) and, if there is one, index";

// Hugging Face's files of GLUE name the index idx.
bool is_column_name(std::string_view name) {
  return name == "sentence" || name == "label" || name == "index" || name == "idx";
}

GlueColumns read_header(const std::vector<std::string_view>& names, const std::string& where) {
  std::optional<size_t> sentence, label, index;
  for (size_t i = 0; i < names.size(); ++i) {
    const std::string_view name = trimmed(names[i]);
    if (!is_column_name(name))
      fail(where, ": the header names a column \"", name.substr(0, 40), "\": the columns are ", columns_wanted);
    std::optional<size_t>& column = name == "sentence" ? sentence : name == "label" ? label : index;
    if (column) fail(where, ": the header names the column ", name, " twice");
    column = i;
  }
  if (!sentence) fail(where, ": the header names no column sentence: the columns are ", columns_wanted);
  return {.has_header = true, .count = names.size(), .sentence = *sentence, .label = label, .index = index};
}

// Throws an Error where a file's first line shows that it has no sentences, one a line, but another form of table.
void refuse_other_tables(std::string_view line, const std::string& where) {
  if (line.starts_with("{\""))
    fail(where, ": is JSON: a file has sentences, one a line, or columns with tabs between them");
  const auto is_sentence = [](std::string_view name) { return name == "sentence" || name == "\"sentence\""; };
  const std::vector<std::string_view> names = split(line, ',');
  if (names.size() > 1 && std::any_of(names.begin(), names.end(), is_sentence))
    fail(where, ": has commas between the names of its columns: they should be tabs");
}

std::optional<int32_t> label_of(std::string_view text) {
  text = trimmed(text);
  if (text != "0" && text != "1") return {};
  return text == "1";
}

int32_t read_label(std::string_view text, const std::string& where) {
  if (const auto label = label_of(text)) return *label;
  fail(where, ": the label is \"", trimmed(text).substr(0, 40), "\": it should be 0 or 1",
       trimmed(text).empty() ? "; a file without labels has a header with sentence and, if there is one, index" : "");
}

// Reads the columns from a file's first line. CoLA's own files and lists of sentences have no header.
GlueColumns read_columns(const std::vector<std::string_view>& cells, GlueFormat format, bool may_be_a_list,
                     const std::string& where) {
  const bool is_cola = format == GlueFormat::cola, is_example = is_cola && cells.size() == 4 && label_of(cells[1]);
  const auto names_column = [](std::string_view cell) { return is_column_name(trimmed(cell)); };
  if (!is_example && std::any_of(cells.begin(), cells.end(), names_column)) return read_header(cells, where);
  if (cells.size() == 1) refuse_other_tables(cells[0], where);
  if (may_be_a_list && cells.size() == 1) return {.count = 1};
  if (is_cola) return {.count = 4, .sentence = 3, .label = 1, .index = {}};
  fail(where, ": is no header: a file for sst2 begins with the names of its columns: ", columns_wanted,
       may_be_a_list ? "; a list of sentences, one a line, has no tabs" : "");
}

}  // namespace

ExampleFile read_examples(const std::filesystem::path& path, GlueFormat format, bool may_be_a_list) {
  const FileBytes bytes(path);
  std::string_view rest = text_of_file(bytes.text(), path.string());
  // Blank lines at the end are passed over.
  const size_t last = rest.find_last_not_of(" \t\r\n");
  rest = rest.substr(0, last == std::string_view::npos ? 0 : rest.find('\n', last));
  ExampleFile file;
  GlueColumns columns;
  for (size_t line_number = 1; !rest.empty(); ++line_number) {
    const std::string where = path.string() + ":" + std::to_string(line_number);
    const size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (const size_t bad = find_invalid_utf8(line); bad < line.size())
      fail(where, ": is not UTF-8 at byte ", bad + 1, " of the line: convert the file, for instance with iconv");
    const std::vector<std::string_view> cells = split(line);
    if (line_number == 1) {
      columns = read_columns(cells, format, may_be_a_list, where);
      if (columns.has_header) continue;
    }
    if (cells.size() != columns.count) {
      if (trimmed(line).empty())
        fail(where, ": is blank: it should have ", columns.count, " columns; blank lines may come last");
      fail(where, ": has ", cells.size(), " columns: ", columns.count, " were expected",
           columns.count == 4 ? ", source, label, mark and sentence (or a header that names others)" : "",
           ", with a tab between them");
    }
    Example example;
    example.line = line_number;
    if (columns.label) example.label = read_label(cells[*columns.label], where);
    example.text = trimmed(cells[columns.sentence]);
    example.index = columns.index ? std::string(trimmed(cells[*columns.index]))
                                  : std::to_string(file.examples.size());
    if (example.text.empty()) ++file.empty;
    file.examples.push_back(std::move(example));
  }
  if (file.examples.empty()) fail(path.string(), ": holds no sentence");
  file.labelled = columns.label.has_value();
  return file;
}

}  // namespace engine
