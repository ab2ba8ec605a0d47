#include "core/json.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "core/error.h"
#include "core/files.h"

namespace engine {

using nlohmann::json;

namespace {

// Refuses a key that stands in its object twice. The key is as it is written, with its quotes.
void require_unrepeated(std::vector<std::string_view>& keys, const std::string& where) {
  std::sort(keys.begin(), keys.end());
  const auto twice = std::adjacent_find(keys.begin(), keys.end());
  if (twice != keys.end()) fail(where, ": the key ", twice->substr(0, 60), " stands twice in one object");
}

// Checks what the library lets pass. It parses without recursion, but compares, copies and writes with it, so the depth
// is limited first. It silently keeps one of two equal keys. The library finds all other errors.
void check_structure(std::string_view text, const std::string& where) {
  std::vector<std::vector<std::string_view>> open;  // keys of each open object or list
  std::string_view last_string;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') {
      const size_t begin = i;
      for (++i; i < text.size() && text[i] != '"'; ++i) i += text[i] == '\\';
      last_string = text.substr(begin, i + 1 - begin);
    } else if (c == '[' || c == '{') {
      if (open.size() == json_most_depth) fail(where, ": JSON nested deeper than ", json_most_depth, " at byte ", i);
      open.emplace_back();
    } else if (c == ':' && !open.empty()) {
      open.back().push_back(last_string);
    } else if ((c == ']' || c == '}') && !open.empty()) {
      require_unrepeated(open.back(), where);
      open.pop_back();
    }
  }
}

// Shortens "[json.exception.parse_error.101] parse error at line 1, column 5: ..." to what a user understands.
std::string plain(const std::string& message) {
  const size_t end = message.find("] ");
  std::string text = message.starts_with("[json") && end != std::string::npos ? message.substr(end + 2) : message;
  if (text.size() > 300) text = text.substr(0, 300) + " ...";
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) > 0x7e) c = '?';
  return text;
}

[[noreturn]] void fail_invalid(const json::exception& error, const std::string& where) {
  fail(where, ": not valid JSON: ", plain(error.what()));
}

// Builds the value of a text from what the library's parser finds in it, without the objects that are taken away. The
// library has a parser with such a callback, too. It looks through a list again for each object in it.
class PiecesBuilder final : public json::json_sax_t {
 public:
  PiecesBuilder(const std::string& where, const TakeObject& take) : where_(where), take_(take) {}
  json take_result() { return std::move(result_); }

  bool null() override { return add(nullptr), true; }
  bool boolean(bool value) override { return add(value), true; }
  bool number_integer(number_integer_t value) override { return add(value), true; }
  bool number_unsigned(number_unsigned_t value) override { return add(value), true; }
  bool number_float(number_float_t value, const string_t&) override { return add(value), true; }
  bool string(string_t& value) override { return add(std::move(value)), true; }
  bool binary(binary_t& value) override { return add(std::move(value)), true; }
  bool start_object(size_t) override { return open_.push_back(add(json::object())), true; }
  bool start_array(size_t) override { return open_.push_back(add(json::array())), true; }
  bool key(string_t& name) override {
    take_(static_cast<int>(open_.size()), name, nullptr);
    member_ = &(*open_.back())[name];
    return true;
  }
  bool end_object() override {
    json* const object = open_.back();
    open_.pop_back();
    if (!take_(static_cast<int>(open_.size()), "", object)) remove(object);
    return true;
  }
  bool end_array() override { return open_.pop_back(), true; }
  bool parse_error(size_t, const std::string&, const json::exception& error) override { fail_invalid(error, where_); }

 private:
  json* add(json value) {
    json* const at = open_.empty() ? &result_ : open_.back()->is_array() ? &open_.back()->emplace_back() : member_;
    *at = std::move(value);
    return at;
  }
  // Removes an object that has just ended: of a list it is the last element.
  void remove(const json* object) {
    if (open_.empty()) return static_cast<void>(result_ = nullptr);
    json& parent = *open_.back();
    if (parent.is_array()) return parent.get_ref<json::array_t&>().pop_back();
    for (auto member = parent.begin(); member != parent.end(); ++member)
      if (&*member == object) return static_cast<void>(parent.erase(member));
  }

  const std::string where_;
  const TakeObject& take_;
  json result_;
  std::vector<json*> open_;  // objects and lists around the next value
  json* member_ = nullptr;   // the value of the last key
};

[[noreturn]] void fail_type(const json& value, const char* key, const std::string& where, const std::string& wanted) {
  std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 60) + " ...";
  fail(where, ": \"", key, "\" is ", text, ", it should be ", wanted);
}

}  // namespace

json parse_json(std::string_view text, const std::string& where) {
  check_structure(text, where);
  try {
    return json::parse(text);
  } catch (const json::exception& error) {
    fail_invalid(error, where);
  }
}

json parse_json_pieces(std::string_view text, const std::string& where, const TakeObject& take) {
  check_structure(text, where);
  PiecesBuilder builder(where, take);
  json::sax_parse(text, &builder);
  return builder.take_result();
}

void each_json_line(std::string_view text, const std::string& file, const TakeLine& take) {
  for (size_t at = 0, line = 1; at < text.size(); ++line) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view content = text.substr(at, end - at);
    at = end + 1;
    if (content.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string where = file + ": line " + std::to_string(line);
    take(parse_json(content, where), where, line);
  }
}

json parse_json_file(const std::filesystem::path& file, size_t most_bytes) {
  std::error_code missing;
  const auto bytes = std::filesystem::file_size(file, missing);
  if (!missing && bytes > most_bytes)
    fail(file.string(), ": ", bytes, " bytes of JSON, at most ", most_bytes, " are read");
  return parse_json(read_text(file), file.string());
}

const json* json_find(const json& object, const char* key, const std::string& where) {
  if (!object.is_object())
    fail(where, ": \"", key, "\" is looked for in a JSON ", object.type_name(), ", not an object");
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

bool json_has(const json& object, const char* key, const std::string& where) {
  return json_find(object, key, where) != nullptr;
}

const json& json_member(const json& object, const char* key, const std::string& where) {
  const json* value = json_find(object, key, where);
  if (!value) fail(where, ": \"", key, "\" is missing");
  return *value;
}

std::string json_string(const json& object, const char* key, const std::string& where) {
  const json& value = json_member(object, key, where);
  if (!value.is_string()) fail_type(value, key, where, "a string");
  return value.get<std::string>();
}

std::string json_string(const json& object, const char* key, const std::string& where, const std::string& otherwise) {
  return json_has(object, key, where) ? json_string(object, key, where) : otherwise;
}

bool json_bool(const json& object, const char* key, const std::string& where) {
  const json& value = json_member(object, key, where);
  if (!value.is_boolean()) fail_type(value, key, where, "true or false");
  return value.get<bool>();
}

bool json_bool(const json& object, const char* key, const std::string& where, bool otherwise) {
  return json_has(object, key, where) ? json_bool(object, key, where) : otherwise;
}

double json_number(const json& object, const char* key, const std::string& where) {
  const json& value = json_member(object, key, where);
  if (!value.is_number()) fail_type(value, key, where, "a number");
  return value.get<double>();
}

double json_number(const json& object, const char* key, const std::string& where, double otherwise) {
  return json_has(object, key, where) ? json_number(object, key, where) : otherwise;
}

int64_t json_integer(const json& object, const char* key, const std::string& where, int64_t least, int64_t most) {
  const json& value = json_member(object, key, where);
  const bool is_free = least == INT64_MIN && most == INT64_MAX;
  const std::string wanted = is_free            ? "an integer"
                             : most == INT64_MAX ? detail::joined("an integer, at least ", least)
                                                 : detail::joined("an integer from ", least, " to ", most);
  if (!value.is_number_integer()) fail_type(value, key, where, wanted);
  const bool too_large = value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX);
  const int64_t number = too_large ? 0 : value.get<int64_t>();
  if (too_large || number < least || number > most) fail_type(value, key, where, wanted);
  return number;
}

int64_t json_integer(const json& object, const char* key, const std::string& where, int64_t least, int64_t most,
                     int64_t otherwise) {
  return json_has(object, key, where) ? json_integer(object, key, where, least, most) : otherwise;
}

}  // namespace engine
