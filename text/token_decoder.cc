#include "text/token_decoder.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "text/metaspace.h"
#include "text/unicode.h"

namespace engine {

using nlohmann::json;
using nlohmann::ordered_json;

namespace {

using Tokens = std::vector<std::string>;

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (size_t place = 0; (place = text.find(from, place)) != std::string::npos; place += to.size())
    text.replace(place, from.size(), to);
}

// Returns the byte of "<0x41>", or -1.
int byte_of(const std::string& token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
  int byte = -1;
  const char* const first = token.data() + (token[3] == '+' ? 4 : 3);
  const auto [stop, error] = std::from_chars(first, token.data() + 5, byte, 16);
  return error == std::errc() && stop == token.data() + 5 && byte >= 0 ? byte : -1;
}

// Bytes that are no UTF-8 together come out as U+FFFD, each.
Tokens join_bytes(const Tokens& tokens) {
  Tokens joined;
  std::string bytes;
  const auto flush = [&] {
    if (find_invalid_utf8(bytes) == bytes.size()) joined.push_back(bytes);
    else joined.insert(joined.end(), bytes.size(), "\xef\xbf\xbd");
    bytes.clear();
  };
  for (const std::string& token : tokens) {
    const int byte = byte_of(token);
    if (byte >= 0) {
      bytes += static_cast<char>(byte);
      continue;
    }
    if (!bytes.empty()) flush();
    joined.push_back(token);
  }
  if (!bytes.empty()) flush();
  return joined;
}

void strip(std::string& token, const std::string& character, int64_t at_begin, int64_t at_end) {
  size_t begin = 0, end = token.size();
  const size_t width = character.size();
  for (; at_begin > 0 && token.compare(begin, width, character) == 0; --at_begin) begin += width;
  for (; at_end > 0 && end >= begin + width && token.compare(end - width, width, character) == 0; --at_end)
    end -= width;
  token = token.substr(begin, end - begin);
}

}  // namespace

void TokenDecoder::add(const json& decoder, const std::string& where) {
  const std::string type = json_string(decoder, "type", where);
  if (type == "Sequence") {
    const json& list = json_member(decoder, "decoders", where);
    if (!list.is_array()) fail(where, ": \"decoders\" should be a list");
    for (const json& one : list) add(one, where);
  } else if (type == "Metaspace") {
    const Metaspace metaspace = Metaspace::read(decoder, where);
    std::string replacement;
    append_utf8(replacement, metaspace.replacement);
    steps_.push_back({Step::Kind::metaspace, replacement, metaspace.scheme_name()});
  } else if (type == "Replace") {
    const json& pattern = json_member(decoder, "pattern", where);
    if (!json_has(pattern, "String", where)) fail(where, ": the decoder Replace is supported for a \"String\" alone");
    const std::string from = json_string(pattern, "String", where);
    if (from.empty()) fail(where, ": the decoder Replace has an empty pattern");
    steps_.push_back({Step::Kind::replace, from, json_string(decoder, "content", where)});
  } else if (type == "ByteFallback") {
    steps_.push_back({Step::Kind::byte_fallback, {}, {}});
  } else if (type == "Fuse") {
    steps_.push_back({Step::Kind::fuse, {}, {}});
  } else if (type == "Strip") {
    const std::string content = json_string(decoder, "content", where);
    if (count_characters(content) != 1) fail(where, ": \"content\" of the decoder Strip should be one character");
    steps_.push_back({Step::Kind::strip, content, {}, json_integer(decoder, "start", where, 0, INT32_MAX),
                      json_integer(decoder, "stop", where, 0, INT32_MAX)});
  } else {
    fail(where, ": the decoder \"", type.substr(0, 60), "\" is not supported for Unigram: Metaspace, Replace, ",
         "ByteFallback, Fuse, Strip and Sequence are");
  }
}

TokenDecoder TokenDecoder::read(const json& decoder, const std::string& where) {
  TokenDecoder made;
  made.add(decoder, where);
  return made;
}

TokenDecoder TokenDecoder::metaspace(bool prepends) {
  TokenDecoder made;
  made.steps_.push_back({Step::Kind::metaspace, "\xe2\x96\x81", prepends ? "always" : "never"});
  return made;
}

ordered_json TokenDecoder::to_json() const {
  ordered_json list = ordered_json::array();
  for (const Step& step : steps_) {
    switch (step.kind) {
      case Step::Kind::metaspace:
        list.push_back(
            {{"type", "Metaspace"}, {"replacement", step.from}, {"prepend_scheme", step.to}, {"split", true}});
        break;
      case Step::Kind::replace:
        list.push_back({{"type", "Replace"}, {"pattern", {{"String", step.from}}}, {"content", step.to}});
        break;
      case Step::Kind::byte_fallback: list.push_back({{"type", "ByteFallback"}}); break;
      case Step::Kind::fuse: list.push_back({{"type", "Fuse"}}); break;
      case Step::Kind::strip:
        list.push_back({{"type", "Strip"}, {"content", step.from}, {"start", step.at_begin}, {"stop", step.at_end}});
    }
  }
  return list.size() == 1 ? list[0] : ordered_json{{"type", "Sequence"}, {"decoders", list}};
}

std::string TokenDecoder::decode(Tokens tokens) const {
  const auto joined = [&] {
    std::string text;
    for (const std::string& token : tokens) text += token;
    return text;
  };
  for (const Step& step : steps_) {
    switch (step.kind) {
      case Step::Kind::metaspace:
        for (size_t i = 0; i < tokens.size(); ++i)
          replace_all(tokens[i], step.from, i == 0 && step.to != "never" ? "" : " ");
        break;
      case Step::Kind::replace:
        for (std::string& token : tokens) replace_all(token, step.from, step.to);
        break;
      case Step::Kind::byte_fallback: tokens = join_bytes(tokens); break;
      case Step::Kind::fuse: tokens = {joined()}; break;
      case Step::Kind::strip:
        for (std::string& token : tokens) strip(token, step.from, step.at_begin, step.at_end);
    }
  }
  return joined();
}

}  // namespace engine
