#include "core/csv.h"

#include <csv.h>

#include <algorithm>
#include <exception>

#include "core/error.h"

namespace engine {

namespace {

// Rows is what libcsv's callbacks know. An exception must not pass through its C code.
struct Rows {
  const std::function<void(int64_t, const std::vector<std::string>&)>& row;
  std::vector<std::string> fields;
  int64_t line = 1, next_line = 1;  // of the row, and of what comes behind it
  bool after_return = false;        // the last row ended with a carriage return
  std::exception_ptr error;

  void add_field(std::string_view text) {
    after_return = false;
    next_line += std::count(text.begin(), text.end(), '\n');
    fields.emplace_back(text);
  }
  void end_row(int end) {
    if (!fields.empty() && !error) {
      try {
        row(line, fields);
      } catch (...) {
        error = std::current_exception();
      }
    }
    fields.clear();
    if (end != '\n' || !after_return) ++next_line;
    after_return = end == '\r';
    line = next_line;
  }
};

int is_no_space(unsigned char) { return 0; }  // spaces around a field are part of it

}  // namespace

void read_csv(std::string_view text, const std::string& file,
              const std::function<void(int64_t, const std::vector<std::string>&)>& row) {
  csv_parser parser;
  if (csv_init(&parser, CSV_STRICT | CSV_STRICT_FINI | CSV_REPALL_NL) != 0) fail("libcsv cannot start");
  csv_set_space_func(&parser, is_no_space);
  Rows rows{.row = row};
  const auto field = [](void* data, size_t size, void* to) {
    static_cast<Rows*>(to)->add_field({static_cast<const char*>(data), size});
  };
  const auto end = [](int character, void* to) { static_cast<Rows*>(to)->end_row(character); };
  const size_t read = csv_parse(&parser, text.data(), text.size(), field, end, &rows);
  if (read < text.size() && !rows.error) {
    const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<ptrdiff_t>(read), '\n');
    csv_free(&parser);
    fail(file, ":", line, ": a quote stands inside a field, or behind the quote that closes one: ",
         "quotes in a quoted field are doubled");
  }
  const int64_t last_line = rows.line;
  const bool is_closed = csv_fini(&parser, field, end, &rows) == 0;
  csv_free(&parser);
  if (!is_closed && !rows.error)
    fail(file, ":", last_line, ": a field of the row that begins here has no closing quote");
  if (rows.error) std::rethrow_exception(rows.error);
}

std::string csv_field(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

}  // namespace engine
