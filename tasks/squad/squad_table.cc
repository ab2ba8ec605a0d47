// Tables of questions as the data of chaii has them: id,context,question,answer_text,answer_start,language,fold.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>
#include <optional>

#include "core/csv.h"
#include "core/error.h"
#include "core/file_bytes.h"
#include "tasks/squad/examples.h"
#include "text/unicode.h"

namespace engine {

namespace {

// Returns a whole number, which other tools may have written as 12.0, or nothing for one that is missing (empty, nan).
std::optional<int64_t> whole_number(const std::string& text, const char* column, const std::string& where) {
  if (text.empty()) return {};
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() ||
      (std::isfinite(value) && (value != std::floor(value) || std::abs(value) > 1e15)))
    fail(where, ": ", column, " is \"", text.substr(0, 40), "\": it should be a whole number");
  if (!std::isfinite(value)) return {};
  return static_cast<int64_t>(value);
}

class SquadTableReader {
 public:
  SquadTableReader(const std::filesystem::path& file, QuestionAdder& to) : file_(file.string()), to_(to) {}

  void read() {
    const FileBytes file(file_);
    const std::string_view text = file.text();
    if (const size_t bad = find_invalid_utf8(text); bad < text.size())
      fail(file_, ":", 1 + std::count(text.begin(), text.begin() + static_cast<ptrdiff_t>(bad), '\n'),
           ": byte ", static_cast<int>(static_cast<unsigned char>(text[bad])),
           " is no valid UTF-8: save the table as UTF-8");
    read_csv(text_of_file(text, file_), file_, [this](int64_t line, const std::vector<std::string>& fields) {
      const std::string where = file_ + ":" + std::to_string(line);
      if (columns_ == 0) read_names(fields, where);
      else read_row(fields, where);
    });
    if (columns_ == 0) fail(file_, ": holds no line with the names of columns, such as id,context,question");
  }

 private:
  enum Column { id, context, question, answer_text, answer_start, language, fold, column_count };
  static constexpr std::array<const char*, column_count> names{"id",           "context",  "question", "answer_text",
                                                               "answer_start", "language", "fold"};

  void read_names(const std::vector<std::string>& fields, const std::string& where) {
    columns_ = fields.size();
    for (size_t i = 0; i < fields.size(); ++i)
      for (size_t c = 0; c < column_count; ++c) {
        if (fields[i] != names[c]) continue;
        if (places_[c]) fail(where, ": the column ", names[c], " is there twice");
        places_[c] = i;
      }
    const bool answers = to_.wanted() == AnswersWanted::yes;
    for (const Column needed : {id, context, question, answer_text, answer_start})
      if (!places_[needed] && (answers || needed < answer_text))
        fail(where, ": the column ", names[needed], " is missing");
  }

  std::string field(const std::vector<std::string>& fields, Column column) const {
    return places_[column] ? fields[*places_[column]] : std::string();
  }

  void read_row(const std::vector<std::string>& fields, const std::string& where) {
    if (fields.size() != columns_)
      fail(where, ": the row has ", fields.size(), " fields, the first line names ", columns_, " columns");
    Question row;
    row.id = field(fields, id);
    if (row.id.empty()) fail(where, ": the id is empty");
    row.text = field(fields, question);
    row.language = field(fields, language);
    const std::optional<int64_t> number = whole_number(field(fields, fold), "fold", where);
    if (number && *number < 0) fail(where, ": fold is ", *number, ": it should not be negative");
    row.fold = number.value_or(-1);
    to_.take_context(field(fields, context));
    const std::string answer = field(fields, answer_text);
    if (!answer.empty() && to_.wanted() == AnswersWanted::yes)
      to_.add_answer(answer, whole_number(field(fields, answer_start), "answer_start", where).value_or(-1), row);
    else if (!answer.empty())
      row.truths.push_back(answer);
    to_.add(std::move(row), where);
  }

  const std::string file_;
  QuestionAdder& to_;
  std::array<std::optional<size_t>, column_count> places_;
  size_t columns_ = 0;  // of the table; 0: its names are not read yet
};

}  // namespace

void read_squad_table(const std::filesystem::path& file, QuestionAdder& to) { SquadTableReader(file, to).read(); }

}  // namespace engine
