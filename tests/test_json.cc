// JSON of others is refused with a message that names the file, the key and what would be right.
#include <doctest/doctest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "core/error.h"
#include "core/json.h"

namespace engine::test::test_json {

namespace {

std::string error_of(const std::string& text) {
  try {
    parse_json(text, "x.json");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("json: what is well-formed is read") {
  const nlohmann::json root = parse_json(R"({"a": [1, {"b": "}{\"]["}], "c": {"a": 1}, "d": {"a": 2}})", "x.json");
  CHECK(root["a"][1]["b"] == "}{\"][");
  CHECK(root["d"]["a"] == 2);
}

TEST_CASE("json: what is not is refused with its place") {
  CHECK(error_of("").find("x.json: not valid JSON") == 0);
  CHECK(error_of("{\"a\": 1,\n\"b\": }").find("line 2, column 6") != std::string::npos);
  for (const char* text : {"{\"a\": 1", "[1, 2", "\"abc", "\"abc\\", "{\"a\"}", "nul", "{]", "]", "}", ":",
                           "\"\xff\"", "1 2"})
    CHECK_MESSAGE(error_of(text).find("x.json: not valid JSON") == 0, text);
  CHECK(error_of(R"({"a": {"b": 1, "c": 2, "b": 3}})").find("the key \"b\" stands twice") != std::string::npos);
}

TEST_CASE("json: depth and size are limited") {
  const size_t depth = json_most_depth;
  CHECK(error_of(std::string(depth, '[') + std::string(depth, ']')).empty());
  CHECK(error_of(std::string(depth + 1, '[') + std::string(depth + 1, ']')).find("nested deeper than") !=
        std::string::npos);
  CHECK(error_of(std::string(1000000, '[')).find("nested deeper than") != std::string::npos);
  const auto file = std::filesystem::temp_directory_path() / "engine_test_large.json";
  std::ofstream(file) << "[1, 2, 3]";
  CHECK(parse_json_file(file, 9).size() == 3);
  CHECK_THROWS_AS(parse_json_file(file, 8), Error);
  std::filesystem::remove(file);
  CHECK_THROWS_AS(parse_json_file(file), Error);
}

TEST_CASE("json: getters name the key and what it should be") {
  const nlohmann::json root = parse_json(
      R"({"text": "t", "flag": true, "number": 2.5, "count": 7, "huge": 18446744073709551615, "none": null})",
      "x.json");
  CHECK(json_string(root, "text", "x.json") == "t");
  CHECK(json_bool(root, "flag", "x.json"));
  CHECK(json_number(root, "number", "x.json") == 2.5);
  CHECK(json_number(root, "count", "x.json") == 7);
  CHECK(json_integer(root, "count", "x.json", 0, 7) == 7);
  CHECK(json_string(root, "none", "x.json", "otherwise") == "otherwise");
  CHECK(json_bool(root, "absent", "x.json", true));
  CHECK(json_number(root, "absent", "x.json", 1.5) == 1.5);
  CHECK(json_integer(root, "absent", "x.json", 0, 1, 9) == 9);
  CHECK(json_has(root, "text", "x.json"));
  CHECK_FALSE(json_has(root, "none", "x.json"));
  CHECK_THROWS_WITH_AS(json_string(root, "absent", "x.json"), "x.json: \"absent\" is missing", Error);
  CHECK_THROWS_WITH_AS(json_string(root, "none", "x.json"), "x.json: \"none\" is missing", Error);
  CHECK_THROWS_WITH_AS(json_string(root, "count", "x.json"), "x.json: \"count\" is 7, it should be a string", Error);
  CHECK_THROWS_AS(json_bool(root, "text", "x.json", false), Error);
  CHECK_THROWS_AS(json_number(root, "text", "x.json"), Error);
  CHECK_THROWS_AS(json_integer(root, "number", "x.json", 0, 9), Error);
  CHECK_THROWS_WITH_AS(json_integer(root, "count", "x.json", 8, 9),
                       "x.json: \"count\" is 7, it should be an integer from 8 to 9", Error);
  CHECK_THROWS_AS(json_integer(root, "huge", "x.json", 0, INT64_MAX), Error);
  CHECK_THROWS_AS(json_string(root["text"], "key", "x.json"), Error);
}

}  // namespace engine::test::test_json
