// The pre-tokenizer and decoder Metaspace: a space is spelled as a character of its own, with which each word begins.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace engine {

struct Metaspace {
  enum class Scheme : uint8_t { always, first, never };  // which parts of a text get one in front

  static Metaspace read(const nlohmann::json& object, const std::string& where);
  nlohmann::ordered_json to_json() const;
  std::string scheme_name() const;

  char32_t replacement = 0x2581;
  Scheme scheme = Scheme::always;
  bool splits = true;  // a word begins at each
};

}  // namespace engine
