// Numbers as JSON and NumPy have them, written without a library: these are most of what the text commands write.
#pragma once

#include <charconv>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

namespace engine {

template <class Number>
void append_number(std::string& text, Number number) {
  char digits[32];
  text.append(digits, std::to_chars(digits, digits + sizeof digits, number).ptr);
}

// [0.5, -1.25]: each number has as few digits as give the same float again, and null stands for one that is not finite.
inline std::string json_list(std::span<const float> numbers) {
  std::string text = "[";
  for (const float number : numbers) {
    if (text.size() > 1) text += ", ";
    if (std::isfinite(number)) append_number(text, number);
    else text += "null";
  }
  return text + "]";
}

inline void append_json(std::string& text, int32_t number) { append_number(text, number); }
inline void append_json(std::string& text, const std::pair<int32_t, int32_t>& pair) {
  text += '[';
  append_number(text, pair.first);
  text += ',';
  append_number(text, pair.second);
  text += ']';
}

// [1,2,3], or [[0,1],[1,4]] for pairs.
template <class List>
void append_json(std::string& text, const List& list) {
  text += '[';
  bool is_first = true;
  for (const auto& element : list) {
    if (!is_first) text += ',';
    is_first = false;
    append_json(text, element);
  }
  text += ']';
}

// The header of a .npy file of little-endian floats in rows (NumPy's format 1.0).
inline std::string npy_header(size_t rows, size_t width) {
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + std::to_string(rows) + ", " +
                       std::to_string(width) + "), }";
  constexpr size_t before = 10, alignment = 64;
  header.append(alignment - (before + header.size() + 1) % alignment, ' ');
  header += '\n';
  const auto size = static_cast<uint16_t>(header.size());
  std::string result("\x93NUMPY\x01\x00", 8);
  result += static_cast<char>(size & 0xff);
  result += static_cast<char>(size >> 8);
  return result + header;
}

}  // namespace engine
