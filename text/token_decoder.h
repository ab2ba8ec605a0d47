// The "decoder" of a tokenizer.json for pieces that spell spaces as a character of their own: steps that turn the
// tokens of a text into parts of it.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace engine {

class TokenDecoder {
 public:
  // Reads Metaspace, Replace (of a text), ByteFallback, Fuse, Strip and a Sequence of them. An Error names any other.
  static TokenDecoder read(const nlohmann::json& decoder, const std::string& where);
  static TokenDecoder metaspace(bool prepends);
  nlohmann::ordered_json to_json() const;

  std::string decode(std::vector<std::string> tokens) const;

 private:
  struct Step {
    enum class Kind : uint8_t { metaspace, replace, byte_fallback, fuse, strip };
    Kind kind;
    std::string from, to;          // metaspace: the character for a space, and the scheme; strip: the character
    int64_t at_begin = 0, at_end = 0;  // strip: at most so many
  };
  void add(const nlohmann::json& decoder, const std::string& where);

  std::vector<Step> steps_;
};

}  // namespace engine
