// Numbers as JSON writes them, without a JSON library: these are most of what embed and score write.
#pragma once

#include <charconv>
#include <cmath>
#include <span>
#include <string>

namespace engine {

// [0.5, -1.25]: each number with as few digits as give the same float again; null where it is not finite.
inline std::string json_list(std::span<const float> numbers) {
  std::string text = "[";
  for (const float number : numbers) {
    char digits[32];
    if (text.size() > 1) text += ", ";
    if (std::isfinite(number)) text.append(digits, std::to_chars(digits, digits + sizeof digits, number).ptr);
    else text += "null";
  }
  return text + "]";
}

}  // namespace engine
