// RunData is what a run folder tells a report. Files that are missing or torn leave gaps and notes, and no errors.
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "report/metrics_file.h"

namespace engine {

// A report of many runs keeps less of each.
struct RunLimits {
  size_t samples = 20;          // files
  size_t sample_bytes = 20000;  // of each
  size_t wrong = 300;           // predictions
  size_t text_bytes = 1000;     // of each of their texts
};

// Counts predictions of the last evaluation.
struct PredictionCounts {
  int64_t all = 0, right = 0;
  // By label and prediction, where there are few of them.
  std::map<std::string, std::map<std::string, int64_t>> confusion;
  std::map<std::pair<std::string, std::string>, std::pair<int64_t, int64_t>> levels;  // (mode, level): right, all
  std::vector<nlohmann::ordered_json> wrong;  // as they stand in the file, texts cut
};

struct RunData {
  std::string name;  // as the user gave it
  std::filesystem::path folder;
  std::vector<std::pair<std::string, std::string>> config;  // option and value as TOML, as in task.cfg
  MetricsFile metrics;
  nlohmann::ordered_json result;  // result.json, or null
  std::vector<std::pair<int64_t, std::string>> samples;  // by step
  PredictionCounts predictions;
  std::vector<std::string> notes;  // what could not be read

  std::string option(const std::string& option_name) const;  // empty where the configuration has none
  // Returns the configuration without seed, name and output_dir. Runs that agree in it are averaged.
  std::string group() const;
};

bool is_run_folder(const std::filesystem::path& folder);
RunData read_run(const std::filesystem::path& folder, const std::string& name, const RunLimits& limits);
PredictionCounts count_predictions(std::string_view lines, const RunLimits& limits);

// Cuts a text before a code point that would not fit, and says so in it.
std::string cut_text(const std::string& text, size_t most_bytes);

}  // namespace engine
