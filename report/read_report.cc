#include <algorithm>
#include <set>

#include "core/error.h"
#include "core/parallel.h"
#include "report/page.h"
#include "report/sweep_folder.h"

namespace engine {

namespace fs = std::filesystem;

namespace {

bool is_sweep_folder(const fs::path& folder) {
  std::error_code ignored;
  return fs::exists(SweepFolder(folder).results(), ignored);
}

SweepData read_sweep(const fs::path& path, const std::string& name) {
  SweepNotes notes = read_notes(SweepFolder(path));
  return {.name = name, .summary = std::move(notes.summary), .trials = std::move(notes.trials)};
}

// The folders that a user's argument stands for.
class Folders {
 public:
  void add(const std::string& argument) {
    const fs::path path = fs::path(argument).lexically_normal();
    if (!fs::is_directory(path))
      fail_usage(argument, ": ", fs::exists(path) ? "this is no folder" : "there is no such folder",
                 "; report takes run folders, such as runs/first, and folders of them");
    const size_t before = runs.size() + sweeps.size();
    visit(path, name_of(path), 2);
    if (runs.size() + sweeps.size() == before)
      fail_usage(argument, ": there is no run in it: neither metrics.jsonl nor task.cfg");
  }

  std::vector<std::pair<fs::path, std::string>> runs, sweeps;  // with names

 private:
  static std::string name_of(const fs::path& path) {
    const fs::path own = path.has_filename() ? path : path.parent_path();
    return own.filename() == "." ? fs::absolute(path).lexically_normal().parent_path().filename().string()
                                 : own.filename().string();
  }

  void visit(const fs::path& path, const std::string& name, int depth) {
    if (is_run_folder(path)) {
      if (seen_.insert(fs::weakly_canonical(path)).second) runs.emplace_back(path, name);
      return;
    }
    if (is_sweep_folder(path)) sweeps.emplace_back(path, name);
    if (depth == 0) return;
    std::vector<fs::path> inner;
    for (const auto& entry : fs::directory_iterator(path))
      if (entry.is_directory() && !entry.path().filename().string().starts_with('.')) inner.push_back(entry.path());
    std::sort(inner.begin(), inner.end());
    for (const fs::path& one : inner) visit(one, one.filename().string(), depth - 1);
  }

  std::set<fs::path> seen_;
};

// Runs of one name are told apart by their folders.
void make_names_unique(std::vector<std::pair<fs::path, std::string>>& runs) {
  std::map<std::string, int> counts;
  for (const auto& [path, name] : runs) ++counts[name];
  for (auto& [path, name] : runs)
    if (counts[name] > 1) name = path.string();
}

}  // namespace

ReportData read_report(const std::vector<std::string>& arguments) {
  Folders folders;
  for (const std::string& argument : arguments) folders.add(argument);
  make_names_unique(folders.runs);
  ReportData report;
  report.title = folders.runs.size() == 1 ? folders.runs[0].second : arguments[0];
  if (arguments.size() > 1) report.title = std::to_string(folders.runs.size()) + " runs";
  const size_t count = std::max<size_t>(folders.runs.size(), 1);
  RunLimits limits;
  limits.samples = std::clamp<size_t>(400 / count, 1, 20);
  limits.sample_bytes = std::clamp<size_t>((size_t{4} << 20) / (count * limits.samples), 500, 20000);
  limits.wrong = std::clamp<size_t>(5000 / count, 3, 500);
  report.runs.resize(folders.runs.size());
  parallel_for_or_throw(static_cast<int64_t>(folders.runs.size()), [&](int64_t i) {
    const auto& [path, name] = folders.runs[static_cast<size_t>(i)];
    report.runs[static_cast<size_t>(i)] = read_run(path, name, limits);
  });
  for (const auto& [path, name] : folders.sweeps) report.sweeps.push_back(read_sweep(path, name));
  return report;
}

}  // namespace engine
