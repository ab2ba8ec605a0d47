// Lists of names in sentences.
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

}  // namespace engine
