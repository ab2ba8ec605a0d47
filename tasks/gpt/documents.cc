#include "tasks/gpt/documents.h"

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "text/unicode.h"

namespace engine {

namespace {

using Piece = std::function<void(std::string_view, bool)>;

constexpr size_t kPieceBytes = size_t{1} << 20;

bool is_visible(char c) { return c > ' ' && c < '\x7f'; }

// Where the piece that begins with `text` ends: the first safe place at or behind kPieceBytes.
size_t piece_end(std::string_view text) {
  for (size_t i = kPieceBytes; i < text.size(); ++i)
    if (text[i - 1] == '\n' && is_visible(text[i - 2]) && is_visible(text[i])) return i;
  return text.size();
}

void text_file(const std::string& file, std::string_view text, const Piece& piece) {
  for (size_t at = 0; at < text.size();) {
    const std::string_view part = text.substr(at, piece_end(text.substr(at)));
    const size_t bad = find_invalid_utf8(part);
    require(bad == part.size(), file, ": byte ", at + bad, " is not UTF-8");
    at += part.size();
    piece(part, at == text.size());
  }
}

void json_lines_file(const std::string& file, std::string_view text, const Piece& piece) {
  bool any = false;
  for (size_t at = 0, line = 1; at < text.size(); ++line) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view content = text.substr(at, end - at);
    at = end + 1;
    if (content.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string where = file + ": line " + std::to_string(line);
    const nlohmann::json object = parse_json(content, where);
    require(object.is_object() && object.contains("text") && object["text"].is_string(), where,
            " is no object with a \"text\"");
    const auto& document = object["text"].get_ref<const std::string&>();
    require(!document.empty(), where, " has an empty \"text\"");
    piece(document, true);
    any = true;
  }
  require(any, file, ": holds no line with a \"text\"");
}

}  // namespace

void for_each_piece(const std::vector<std::string>& files, const Piece& piece) {
  for (const std::string& file : files) {
    const MappedFile mapped(file);
    const std::string_view text(mapped.data(), mapped.size());
    require(!text.empty(), file, ": is empty");
    if (file.ends_with(".jsonl"))
      json_lines_file(file, text, piece);
    else
      text_file(file, text, piece);
  }
}

std::unique_ptr<Tokenizer> make_tokenizer_of_characters(const std::vector<std::string>& files) {
  std::vector<bool> seen(0x110000);
  for_each_piece(files, [&](std::string_view text, bool) {
    for (const char *at = text.data(), *end = at + text.size(); at < end;) seen[next_character(at)] = true;
  });
  std::string characters;
  for (char32_t c = 0; c < seen.size(); ++c)
    if (seen[c]) append_utf8(characters, c);
  return make_character_tokenizer({characters});
}

}  // namespace engine
