// FNV-1a (Fowler, Noll, Vo) gives the same number for the same bytes on every machine.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace engine {

inline constexpr uint64_t empty_hash = 0xcbf29ce484222325u;

// Hashes `bytes` that follow those with the hash `before`, so that a text can be hashed piece by piece.
inline uint64_t hash_of(std::string_view bytes, uint64_t before = empty_hash) {
  for (const char byte : bytes) before = (before ^ static_cast<unsigned char>(byte)) * 0x100000001b3u;
  return before;
}

// Writes a hash as 16 hexadecimal digits.
inline std::string hexadecimal(uint64_t number) {
  std::string text(16, '0');
  for (size_t i = text.size(); i-- > 0; number >>= 4) text[i] = "0123456789abcdef"[number & 15];
  return text;
}

}  // namespace engine
