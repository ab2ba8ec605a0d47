// SweepFolder knows every name in the folder of a sweep, output_dir/name. Each trial is a run folder in it.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace engine {

class SweepFolder {
 public:
  explicit SweepFolder(std::filesystem::path path) : path_(std::move(path)) {}

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path config() const { return path_ / "sweep.cfg"; }      // a copy
  std::filesystem::path results() const { return path_ / "results.jsonl"; }  // a line a trial
  std::filesystem::path table() const { return path_ / "results.md"; }
  std::filesystem::path summary() const { return path_ / "sweep.json"; }     // metric, importance of the options
  std::filesystem::path trial(const std::string& name) const { return path_ / name; }
  std::filesystem::path log(const std::string& name) const { return path_ / (name + ".log"); }

 private:
  std::filesystem::path path_;
};

// Holds what a sweep's folder tells of it. A torn or foreign line of results.jsonl is passed over.
struct SweepNotes {
  nlohmann::ordered_json summary;              // metric, more_is_better, importance
  std::vector<nlohmann::ordered_json> trials;  // the lines of results.jsonl
};
SweepNotes read_notes(const SweepFolder& folder);

}  // namespace engine
