#include "tasks/documents.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file_bytes.h"
#include "core/json.h"
#include "text/unicode.h"

namespace engine {

namespace {

using TakePiece = std::function<void(const DocumentPiece&)>;

bool is_visible(char c) { return c > ' ' && c < '\x7f'; }

// Returns the end of the piece that begins at `begin`: the first place at or behind `bytes` where the text may be
// split.
size_t piece_end(std::string_view text, size_t begin, size_t bytes, const Tokenizer* tokenizer) {
  for (size_t i = std::max<size_t>(begin + bytes, begin + 2); i < text.size(); ++i)
    if (text[i - 1] == '\n' && is_visible(text[i - 2]) && is_visible(text[i]) &&
        (!tokenizer || tokenizer->may_cut(text, i)))
      return i;
  return text.size();
}

void text_file(const std::string& file, std::string_view bytes, const TakePiece& take, const Tokenizer* tokenizer,
               size_t piece_bytes) {
  const std::string_view text = text_of_file(bytes, file);
  size_t line = 1;
  for (size_t at = 0, end; at < text.size(); at = end) {
    end = piece_end(text, at, piece_bytes, tokenizer);
    const std::string_view part = text.substr(at, end - at);
    if (const size_t bad = find_invalid_utf8(part); bad < part.size()) {
      const auto before = std::count(part.begin(), part.begin() + static_cast<std::ptrdiff_t>(bad), '\n');
      fail(file, ": line ", line + static_cast<size_t>(before), ": byte ", part.data() + bad - bytes.data(),
           " of the file is not UTF-8");
    }
    take({.text = part, .begins = at == 0, .ends = end == text.size(), .file = file, .line = line});
    line += static_cast<size_t>(std::count(part.begin(), part.end(), '\n'));
  }
}

// Returns how many documents have no text.
size_t json_lines_file(const std::string& file, std::string_view text, const TakePiece& take) {
  bool any = false;
  size_t empty = 0;
  const std::string_view behind_mark = text_of_file(text, file);
  const size_t first = behind_mark.find_first_not_of(" \t\r\n");
  if (first < behind_mark.size() && behind_mark[first] == '[')
    fail(file, ": is a list in JSON, and each line should be an object with a \"text\": jq -c '.[]' writes it so");
  each_json_line(text, file, [&](const nlohmann::json& object, const std::string& where, size_t line) {
    require(object.is_object() && object.contains("text"), where, " is no object with a \"text\"");
    if (!object["text"].is_string())
      fail(where, ": \"text\" is ", object["text"].dump(-1, ' ', true).substr(0, 60), ", it should be a string");
    const auto& document = object["text"].get_ref<const std::string&>();
    if (document.empty()) {
      ++empty;
      return;
    }
    take({.text = document, .file = file, .line = line});
    any = true;
  });
  require(any, file, ": holds no line with a \"text\"", empty ? " that is not empty" : "");
  return empty;
}

// Refuses files whose columns others read. As one text they would be something else.
void refuse_table(const std::string& file) {
  const std::string ending = lower_ending(file);
  if (ending == ".csv" || ending == ".tsv")
    fail(file, ": is a table by its name, and columns are not read here: write its texts as .jsonl, an object with a ",
         "\"text\" a line, or give it another name to read all of it as one text");
}

// Finds the line of a piece that cannot be encoded. A line of a .jsonl file is a whole piece.
[[noreturn]] void fail_at_line(const DocumentPiece& piece, const Tokenizer& tokenizer, const Error& error) {
  if (has_json_lines(piece.file)) fail(piece.file, ": line ", piece.line, ": ", error.what());
  size_t line = piece.line;
  for (size_t at = 0, end; at < piece.text.size(); at = end, ++line) {
    end = std::min(piece.text.find('\n', at), piece.text.size() - 1) + 1;
    try {
      tokenizer.encode(piece.text.substr(at, end - at));
    } catch (const Error& of_line) {
      fail(piece.file, ": line ", line, ": ", of_line.what());
    }
  }
  fail(piece.file, ": lines ", piece.line, " to ", line, ": ", error.what());
}

}  // namespace

std::string lower_ending(const std::filesystem::path& file) {
  std::string ending = file.extension().string();
  for (char& c : ending)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  return ending;
}

bool has_json_lines(const std::string& file) {
  const std::string ending = lower_ending(file);
  return ending == ".jsonl" || ending == ".json";
}

size_t for_each_piece(const std::vector<std::string>& files, const TakePiece& take, const Tokenizer* tokenizer,
                      size_t piece_bytes) {
  size_t empty = 0;
  for (const std::string& file : files) {
    const FileBytes bytes(file);
    const std::string_view text = bytes.text();
    require(!text_of_file(text, file).empty(), file, ": is empty");
    refuse_table(file);
    if (has_json_lines(file))
      empty += json_lines_file(file, text, take);
    else
      text_file(file, text, take, tokenizer, piece_bytes);
  }
  return empty;
}

size_t encode_documents(const std::vector<std::string>& files, const Tokenizer& tokenizer,
                        const std::function<void(std::span<const int32_t> ids)>& take, size_t piece_bytes) {
  return encode_pieces(files, tokenizer, [&](const DocumentPiece&, std::span<const int32_t> ids) { take(ids); },
                       piece_bytes);
}

size_t encode_pieces(const std::vector<std::string>& files, const Tokenizer& tokenizer,
                     const std::function<void(const DocumentPiece& piece, std::span<const int32_t> ids)>& take,
                     size_t piece_bytes) {
  std::vector<int32_t> ids;
  const auto encode = [&](const DocumentPiece& piece) {
    ids.clear();
    try {
      if (piece.begins)
        tokenizer.encode(piece.text, ids);
      else
        tokenizer.encode_continued(piece.text, ids);
    } catch (const Error& error) {
      fail_at_line(piece, tokenizer, error);
    }
    if (piece.ends && tokenizer.end_token() >= 0) ids.push_back(tokenizer.end_token());
    take(piece, ids);
  };
  return for_each_piece(files, encode, &tokenizer, piece_bytes);
}

std::unique_ptr<Tokenizer> make_tokenizer_of_characters(const std::vector<std::string>& files,
                                                        const std::vector<std::string>& special_tokens) {
  CharacterSet characters;
  for (const std::string& file : files) require_regular(file);  // they are read again
  for_each_piece(files, [&](const DocumentPiece& piece) { characters.add(piece.text); });
  return make_character_tokenizer(characters, special_tokens);
}

}  // namespace engine
