// Reads JSON files of others. Parsing has limits on size and depth, and getters' errors name the file, the key, and
// what would be right. The library's own header is slow to compile: include it in .cc files only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace engine {

inline constexpr size_t json_most_bytes = size_t{256} << 20;
inline constexpr size_t json_most_depth = 64;

// Parses a text. An Error names `where` (mostly a path) and line and column, or the limit that is passed. A key that
// stands twice in one object is an error, because nobody knows which of the two was meant.
nlohmann::json parse_json(std::string_view text, const std::string& where);
nlohmann::json parse_json_file(const std::filesystem::path& file, size_t most_bytes = json_most_bytes);
// Parses each line that is not blank and calls take(object, "FILE: line N", N).
using TakeLine = std::function<void(const nlohmann::json& json, const std::string& where, size_t line)>;
void each_json_line(std::string_view text, const std::string& file, const TakeLine& take);
// Parses a text of any size, from which `take` takes objects away, so that they are never all in memory. It is called
// with every key (`object` is null) and with every object that ended, each with its depth: a key is one deeper than its
// object, and the whole text is 0 deep. It returns whether the object stays in the result.
using TakeObject = std::function<bool(int depth, const std::string& key, nlohmann::json* object)>;
nlohmann::json parse_json_pieces(std::string_view text, const std::string& where, const TakeObject& take);

// These read the members of an object. Without a default an absent key (or null) is an Error. A wrong type always is.
const nlohmann::json& json_member(const nlohmann::json& object, const char* key, const std::string& where);
const nlohmann::json* json_find(const nlohmann::json& object, const char* key, const std::string& where);  // or nullptr
bool json_has(const nlohmann::json& object, const char* key, const std::string& where);  // there, not null

std::string json_string(const nlohmann::json& object, const char* key, const std::string& where);
std::string json_string(const nlohmann::json& object, const char* key, const std::string& where,
                        const std::string& otherwise);
bool json_bool(const nlohmann::json& object, const char* key, const std::string& where);
bool json_bool(const nlohmann::json& object, const char* key, const std::string& where, bool otherwise);
double json_number(const nlohmann::json& object, const char* key, const std::string& where);
double json_number(const nlohmann::json& object, const char* key, const std::string& where, double otherwise);
// Reads an integer in least ... most.
int64_t json_integer(const nlohmann::json& object, const char* key, const std::string& where, int64_t least,
                     int64_t most);
int64_t json_integer(const nlohmann::json& object, const char* key, const std::string& where, int64_t least,
                     int64_t most, int64_t otherwise);

}  // namespace engine
