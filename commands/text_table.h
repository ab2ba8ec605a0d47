// Tables of plain text.
#pragma once

#include <algorithm>
#include <cstdio>
#include <ostream>
#include <string>
#include <vector>

namespace engine {

// Returns a number with so many digits behind the point.
inline std::string fixed_text(double number, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, number);
  return text;
}
inline std::string percent_text(double share) { return fixed_text(100 * share, 1) + " %"; }

// Columns are as wide as their longest text. A heading that begins with '<' is of a column of text, which stands at the
// left; numbers stand at the right.
class TextTable {
 public:
  explicit TextTable(std::vector<std::string> headings) {
    for (std::string& heading : headings) {
      is_text_.push_back(heading.starts_with('<'));
      if (is_text_.back()) heading.erase(0, 1);
    }
    rows_.push_back(std::move(headings));
  }
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  void print(std::ostream& out) const {
    std::vector<size_t> widths(is_text_.size());
    for (const auto& row : rows_)
      for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
    for (const auto& row : rows_) {
      std::string line;
      for (size_t i = 0; i < row.size(); ++i) {
        const std::string space(widths[i] - row[i].size(), ' ');
        line.append(i ? "  " : "").append(is_text_[i] ? row[i] + space : space + row[i]);
      }
      line.erase(line.find_last_not_of(' ') + 1);
      out << line << "\n";
    }
    out << "\n";
  }

 private:
  std::vector<bool> is_text_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace engine
