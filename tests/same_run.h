// Compares the folders of two runs that should have come to the same end.
#pragma once

#include <doctest/doctest.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "core/files.h"

namespace engine::test {

// Returns a log without what depends on the clock.
inline std::string timeless_log(const std::filesystem::path& run) {
  std::istringstream log(read_text(run / "metrics.jsonl"));
  std::string result;
  for (std::string line; std::getline(log, line);) {
    nlohmann::json json = nlohmann::json::parse(line);
    json.erase("tokens_per_second");
    json.erase("memory_mib");
    json.erase("seconds");
    result += json.dump() + "\n";
  }
  return result;
}

// Returns a state's numbers without those of the clock.
inline nlohmann::json timeless_progress(const std::filesystem::path& run) {
  nlohmann::json json = nlohmann::json::parse(read_text(run / "state/progress.json"));
  for (const char* time : {"seconds", "run_seconds", "warmup_seconds"}) CHECK(json.erase(time) == 1);
  json["files"].erase("task.cfg");  // its size depends on the run's name
  return json;
}

// Returns what a run's folder holds, a text a file. Events, which hold times, are left out, and so are files that a
// writer had no time to remove.
inline std::map<std::string, std::string> contents_of(const std::filesystem::path& run) {
  std::map<std::string, std::string> contents;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(run)) {
    const std::string name = entry.path().lexically_relative(run).string();
    const bool is_aside = name.find(".writing") != std::string::npos || name.find(".old") != std::string::npos;
    if (!entry.is_regular_file() || is_aside || name.starts_with("events.out.tfevents.")) continue;
    contents[name] = read_text(entry.path());
  }
  contents["metrics.jsonl"] = timeless_log(run);
  contents["state/progress.json"] = timeless_progress(run).dump(2);
  nlohmann::json result = nlohmann::json::parse(read_text(run / "result.json"));
  result.erase("memory_mib");
  contents["result.json"] = result.dump(2);
  return contents;
}

// Returns how two folders differ: their first differing file, or nothing. A numbered checkpoint that could not be
// removed may stay, since the next one's saving removes it.
inline std::string difference_of(const std::map<std::string, std::string>& wanted,
                                 const std::map<std::string, std::string>& found) {
  for (const auto& [name, text] : wanted) {
    const auto other = found.find(name);
    if (other == found.end()) return name + " is missing";
    if (other->second != text)
      return name + " differs: " + text.substr(0, 400) + "\nand\n" + other->second.substr(0, 400);
  }
  for (const auto& [name, text] : found)
    if (!wanted.contains(name) && !name.starts_with("checkpoint-")) return name + " should not be there";
  return "";
}

}  // namespace engine::test
