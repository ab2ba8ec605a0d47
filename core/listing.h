// Lists of names in sentences, and cells of tables.
#pragma once

#include <string>
#include <vector>

namespace engine {

// Returns ["gpt", "mlm", "cola"] as "gpt, mlm or cola", with " or " as the conjunction.
inline std::string listed(const std::vector<std::string>& names, const std::string& conjunction) {
  std::string text;
  for (size_t i = 0; i < names.size(); ++i)
    text.append(i == 0 ? "" : i + 1 < names.size() ? ", " : conjunction).append(names[i]);
  return text;
}

// Returns a text as the cell of a Markdown table, which a bar or a line's end would end.
inline std::string table_cell(const std::string& text) {
  std::string result;
  for (const char c : text) result += c == '|' ? std::string("\\|") : std::string(1, c == '\n' ? ' ' : c);
  return result;
}

}  // namespace engine
