#include "report/run_data.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <sstream>

#include "core/toml.h"
#include "training/run_folder.h"
#include "training/subset.h"

namespace engine {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

constexpr size_t most_classes = 30;  // of a confusion table

void flatten(const toml::table& table, const std::string& prefix,
             std::vector<std::pair<std::string, std::string>>& config) {
  for (const auto& [key, node] : table) {
    const std::string name = prefix + std::string(key.str());
    if (const auto* const inner = node.as_table()) {
      flatten(*inner, name + ".", config);
      continue;
    }
    // The library writes numbers with all digits that they might have, and here the fewest that tell them apart do.
    std::ostringstream text;
    if (const auto* const number = node.as_floating_point(); number && std::isfinite(number->get())) {
      char digits[40];
      text << std::string(digits, std::to_chars(digits, digits + sizeof digits, number->get()).ptr);
    } else {
      node.visit([&](const auto& value) { text << value; });
    }
    config.emplace_back(name, text.str());
  }
}

// Runs `read` where the file is there. An error becomes a note.
template <class Read>
void read_if_there(const fs::path& file, RunData& run, const Read& read) {
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return;
  try {
    read();
  } catch (const std::exception& error) {
    run.notes.push_back(file.filename().string() + ": " + error.what());
  }
}

void read_samples(const RunFolder& folder, const RunLimits& limits, RunData& run) {
  std::vector<int64_t> steps;
  for (const auto& entry : fs::directory_iterator(folder.samples())) {
    const std::string stem = entry.path().stem().string();
    const size_t digits = stem.find_last_not_of("0123456789") + 1;
    if (digits == stem.size() || stem.size() - digits > 18) continue;
    const int64_t step = std::stoll(stem.substr(digits));
    if (folder.sample(step) == entry.path()) steps.push_back(step);
  }
  std::sort(steps.begin(), steps.end());
  // The last one stays.
  std::reverse(steps.begin(), steps.end());
  const auto all = static_cast<int64_t>(steps.size());
  const int64_t kept = std::min(all, static_cast<int64_t>(limits.samples));
  for (int64_t i = 0; i < kept; ++i) {
    const int64_t step = steps[static_cast<size_t>(spread_index(i, kept, all))];
    run.samples.emplace_back(step, cut_text(read_text(folder.sample(step)), limits.sample_bytes));
  }
  std::reverse(run.samples.begin(), run.samples.end());
}

std::string text_of(const Json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

void cut_texts(Json& line, const RunLimits& limits) {
  for (auto& [key, value] : line.items()) {
    if (value.is_string()) value = cut_text(value.get<std::string>(), limits.text_bytes);
    else if (value.is_structured()) value = cut_text(value.dump(), limits.text_bytes);
  }
}

}  // namespace

std::string cut_text(const std::string& text, size_t most_bytes) {
  if (text.size() <= most_bytes) return text;
  size_t end = most_bytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end) + " … (" + std::to_string(text.size()) + " bytes)";
}

std::string RunData::option(const std::string& option_name) const {
  const auto found =
      std::find_if(config.begin(), config.end(), [&](const auto& one) { return one.first == option_name; });
  return found == config.end() ? "" : found->second;
}

std::string RunData::group() const {
  std::string text;
  for (const auto& [name_of_option, value] : config)
    if (name_of_option != "seed" && name_of_option != "name" && name_of_option != "output_dir")
      text.append(name_of_option).append("=").append(value).append("\n");
  return text;
}

bool is_run_folder(const fs::path& folder) {
  std::error_code ignored;
  const RunFolder run(folder);
  return fs::exists(run.metrics(), ignored) || fs::exists(run.config(), ignored);
}

PredictionCounts count_predictions(std::string_view lines, const RunLimits& limits) {
  PredictionCounts counts;
  // Labels are classes where they are few and right predictions equal them. Tasks that write answers have none.
  bool has_classes = true;
  std::map<std::string, int> classes;
  while (!lines.empty()) {
    const size_t end = std::min(lines.find('\n'), lines.size());
    Json line = Json::parse(lines.substr(0, end), nullptr, /*allow_exceptions=*/false);
    lines.remove_prefix(std::min(end + 1, lines.size()));
    if (!line.is_object() || !line.contains("label") || !line.contains("prediction")) continue;
    const std::string label = text_of(line["label"]), prediction = text_of(line["prediction"]);
    // A label that is a list has all answers that are right. Where others are right, too, the line says whether it is.
    const Json& labels = line["label"];
    const auto told = line.find("right");
    const bool is_right = told != line.end() && told->is_boolean() ? told->get<bool>()
                          : labels.is_array()
                              ? std::find(labels.begin(), labels.end(), line["prediction"]) != labels.end()
                              : label == prediction;
    ++counts.all;
    counts.right += is_right;
    if (line.contains("level")) {
      auto& [right, all] = counts.levels[{line.contains("mode") ? text_of(line["mode"]) : "", text_of(line["level"])}];
      right += is_right;
      ++all;
    }
    has_classes = has_classes && !labels.is_array() && is_right == (label == prediction);
    if (has_classes) {
      ++counts.confusion[label][prediction];
      ++classes[label];
      ++classes[prediction];
      has_classes = classes.size() <= most_classes;
    }
    if (is_right || counts.wrong.size() >= limits.wrong) continue;
    cut_texts(line, limits);
    counts.wrong.push_back(std::move(line));
  }
  if (!has_classes) counts.confusion.clear();
  return counts;
}

RunData read_run(const fs::path& path, const std::string& name, const RunLimits& limits) {
  const RunFolder folder(path);
  RunData run{.name = name, .folder = path};
  read_if_there(folder.config(), run, [&] { flatten(toml::parse(read_text(folder.config())), "", run.config); });
  read_if_there(folder.metrics(), run, [&] {
    const MappedFile file(folder.metrics());
    run.metrics = parse_metrics({file.data(), file.size()});
  });
  read_if_there(folder.result(), run, [&] { run.result = Json::parse(read_text(folder.result())); });
  read_if_there(folder.samples(), run, [&] { read_samples(folder, limits, run); });
  read_if_there(folder.predictions(), run, [&] {
    const MappedFile file(folder.predictions());
    run.predictions = count_predictions({file.data(), file.size()}, limits);
  });
  if (run.metrics.lines == 0) run.notes.push_back("metrics.jsonl has no line of a step");
  if (run.metrics.bad_lines)
    run.notes.push_back("metrics.jsonl: " + std::to_string(run.metrics.bad_lines) +
                        " lines are no steps of a training");
  if (run.metrics.has_torn_end) run.notes.push_back("metrics.jsonl: the last line is torn, as by a killed training");
  if (run.metrics.not_finite)
    run.notes.push_back("metrics.jsonl: " + std::to_string(run.metrics.not_finite) + " values are not finite");
  return run;
}

}  // namespace engine
