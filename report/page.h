// Writes a report: one HTML page that needs nothing else, with what its script draws as JSON in it.
#pragma once

#include <filesystem>
#include <iosfwd>
#include <string>
#include <vector>

#include "report/run_data.h"

namespace engine {

// A sweep folder's table of trials (report/sweep_folder.h).
struct SweepData {
  std::string name;
  nlohmann::ordered_json summary;  // metric, more_is_better, importance
  std::vector<nlohmann::ordered_json> trials;
};

struct ReportData {
  std::string title;
  std::vector<RunData> runs;
  std::vector<SweepData> sweeps;
};

// Reads runs' folders. A folder that is no run but has runs or sweeps in it stands for these, and a sweep's folder for
// its trials. Throws a UsageError that names a folder with none. Runs are read side by side.
ReportData read_report(const std::vector<std::string>& folders);

// Returns how many points a curve may have so that so many of them make a page of a few megabytes.
size_t points_of_each(size_t curves);

// Writes the page. `points` is the most points of a curve, 0: as points_of_each says.
void write_page(const ReportData& report, size_t points, std::ostream& out);

// Returns a text for the inside of an HTML element or of a quoted attribute.
std::string html_text(const std::string& text);
// Returns JSON for the inside of a script element. Nothing in it ends that element. What is no valid UTF-8 is replaced.
std::string script_json(const nlohmann::ordered_json& json);

}  // namespace engine
