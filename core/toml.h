// Reads TOML by a library, whose header is slow to compile: include this in .cc files only.
#pragma once

#include <stdexcept>

namespace engine {

// Some wrong texts, such as "[=", get as far as an assertion of the library. That is an error of the text.
struct TomlAssertion : std::logic_error {
  TomlAssertion() : std::logic_error("an assertion of the TOML library") {}
};
[[noreturn]] void fail_toml_assertion();

}  // namespace engine

#define TOML_ASSERT(condition) ((condition) ? void() : ::engine::fail_toml_assertion())
#define TOML_EXCEPTIONS 1
#define TOML_HEADER_ONLY 0  // core/toml.cc holds it
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#include <toml++/toml.h>
#pragma GCC diagnostic pop

#include <filesystem>
#include <string>
#include <string_view>

#include "core/end_line.h"
#include "core/error.h"
#include "core/files.h"

namespace engine {

// The library's tables are read, copied and freed by recursion. So a UsageError tells of names with more dots, and of
// lists and tables deeper in others, than anyone writes.
void check_toml_depth(const std::string& text, const std::string& source);

// Returns the line at which the library's assertion fails for a text.
size_t line_of_assertion(std::string_view text);

// Parses a text that comes from `source`. A UsageError names it and the line.
inline toml::table parse_toml(const std::string& text, const std::string& source) {
  check_toml_depth(text, source);
  try {
    return toml::parse(text, source);
  } catch (const toml::parse_error& error) {
    fail_usage(source, ":", error.source().begin.line, ": ", error.description());
  } catch (const TomlAssertion&) {
    fail_usage(source, ":", line_of_assertion(text), ": this is no TOML");
  }
}

// Reads a file of the user's. Where it is none a UsageError says so, and what is right: "a sweep.cfg is a TOML file".
inline std::string read_toml_text(const std::filesystem::path& file, const std::string& right) {
  if (!std::filesystem::is_regular_file(file))
    fail_usage(file.string(), ": ", std::filesystem::exists(file) ? "this is not a file" : "there is no such file",
               "; ", right);
  std::string text = read_text(file);
  require_end_line(text, file.string());
  return text;
}

}  // namespace engine
