// Targets for files of several parts of the program: JSON, safetensors, configurations, tables and logs.
#include <cmath>
#include <nlohmann/json.hpp>

#include "commands/sweep_plan.h"
#include "core/csv.h"
#include "core/json.h"
#include "core/safetensors.h"
#include "report/metrics_file.h"
#include "tasks/tasks.h"
#include "tests/fuzz/targets.h"

namespace engine::fuzz {

namespace {

size_t keys_of(const nlohmann::json& json) {
  if (!json.is_structured()) return 0;
  size_t count = json.is_object() ? json.size() : 0;
  for (const nlohmann::json& member : json) count += keys_of(member);
  return count;
}

}  // namespace

void read_json_input(std::string_view input) {
  const nlohmann::json json = parse_json(input, "input");
  const std::string text = json.dump();
  promise(parse_json(text, "input").dump() == text, "JSON that is written does not come back");
  size_t keys = 0;
  const nlohmann::json rest = parse_json_pieces(input, "input", [&](int, const std::string&, nlohmann::json* object) {
    keys += object == nullptr;
    return true;
  });
  promise(rest == json, "JSON in pieces differs from the whole");
  promise(keys == keys_of(json), "JSON in pieces has other keys");
}

void read_json_lines_input(std::string_view input) {
  each_json_line(input, "input", [](const nlohmann::json& json, const std::string& where, size_t) {
    json_string(json, "text", where);
    json_integer(json, "number", where, -5, 5, 0);
    json_number(json, "share", where, 0);
    json_bool(json, "flag", where, false);
  });
}

void read_safetensors_input(std::string_view input) {
  const std::string path = input_file("input.safetensors", input);
  const Safetensors file = Safetensors::open(path);
  uint64_t bytes = 0;
  for (const auto& [name, entry] : file.entries()) {
    bytes += entry.bytes;
    promise(static_cast<uint64_t>(entry.count()) * safetensors_size_of(entry.dtype) == entry.bytes,
            "a tensor's shape is not its size");
    // Reads every byte, so that a place outside of the file shows.
    if (holds_floats(entry.dtype)) file.floats(name);
    else promise(std::string(entry.data, entry.bytes).size() == entry.bytes, "a tensor's bytes are not there");
  }
  promise(bytes < input.size(), "the tensors are larger than the file");
}

void read_toml_input(std::string_view input) {
  Config config;
  TaskSections sections;
  Options options;
  config.declare(options);
  sections.declare(options);
  options.read_text(std::string(input), "task.cfg");
  Config second;
  TaskSections second_sections;
  Options again;
  second.declare(again);
  second_sections.declare(again);
  again.read_text(options.toml(), "resolved");
  promise(again.toml() == options.toml(), "a configuration that is written does not come back");
}

void read_sweep_input(std::string_view input) {
  const std::vector<std::string_view> parts = parts_of(input);
  const std::string_view task = parts.size() > 1 ? parts[1] : std::string_view("task = \"gpt\"\n");
  const std::string own = input_folder({}) + "/task.cfg";
  std::string text(parts[0]);
  if (const size_t at = text.find("\"task.cfg\""); at != std::string::npos) text.replace(at, 10, "\"" + own + "\"");
  const std::string folder = input_folder({{"sweep.cfg", text}, {"task.cfg", task}});
  const SweepPlan plan = SweepPlan::read(folder + "/sweep.cfg");
  const auto points = plan.points();
  promise(plan.text() == SweepPlan::read(folder + "/sweep.cfg").text(), "a sweep differs when it is read again");
  promise(plan.rungs().size() > 0, "a sweep has no rung");
  for (const SweepPoint& point : points)
    promise(point.size() == plan.spaces.size(), "a point of a sweep lacks an option");
}

void read_csv_input(std::string_view input) {
  std::vector<std::vector<std::string>> rows;
  int64_t last = 0;
  read_csv(input, "input", [&](int64_t line, const std::vector<std::string>& fields) {
    promise(line > last, "the lines of a table do not ascend");
    last = line;
    rows.push_back(fields);
  });
  std::string text;
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) text += (i ? "," : "") + csv_field(row[i]);
    text += row.size() == 1 && row[0].empty() ? "\"\"\r\n" : "\r\n";
  }
  size_t at = 0;
  read_csv(text, "again", [&](int64_t, const std::vector<std::string>& fields) {
    promise(at < rows.size() && fields == rows[at], "a row of a table does not come back");
    ++at;
  });
  promise(at == rows.size(), "rows of a table do not come back");
}

void read_metrics_input(std::string_view input) {
  const MetricsFile file = parse_metrics(input);
  for (const auto& [name, series] : file.series) {
    promise(series.steps.size() == series.values.size(), "a series has a step without a value");
    promise(static_cast<int64_t>(series.steps.size()) <= file.lines, "a series has more points than lines");
    for (size_t i = 1; i < series.steps.size(); ++i)
      promise(!(series.steps[i] < series.steps[i - 1]), "the steps of a series fall");
  }
}

}  // namespace engine::fuzz
