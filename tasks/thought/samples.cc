#include "tasks/thought/samples.h"

#include <algorithm>
#include <vector>

namespace engine {

std::string text_with_thoughts(const Tokenizer& tokenizer, std::span<const int32_t> tokens, int32_t thought,
                               const std::string& show) {
  if (show != "shown") {
    std::vector<int32_t> text(tokens.begin(), tokens.end());
    const size_t thoughts = std::erase(text, thought);
    std::string decoded = tokenizer.decode(text, true);
    if (show == "counted") decoded.append("\n(").append(std::to_string(thoughts)).append(" thoughts)");
    return decoded;
  }
  std::string text;
  for (auto begin = tokens.begin();; ++begin) {
    const auto end = std::find(begin, tokens.end(), thought);
    text += tokenizer.decode(std::span(begin, end), true);
    if (end == tokens.end()) return text;
    text += tokenizer.token(thought);
    begin = end;
  }
}

}  // namespace engine
