#include "training/training_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <nlohmann/json.hpp>
#include <system_error>
#include <vector>

#include "core/files.h"
#include "core/ranks.h"
#include "training/append.h"
#include "training/control_files.h"

namespace engine {

namespace fs = std::filesystem;

namespace {

const std::string checkpoint_prefix = "checkpoint-";
const char* const predictions_file = "predictions.jsonl";

// The step of a numbered checkpoint's name; -1: it is none.
int64_t step_of(const std::string& name) {
  if (!name.starts_with(checkpoint_prefix)) return -1;
  int64_t step = -1;
  const char* end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data() + checkpoint_prefix.size(), end, step);
  return error == std::errc{} && stop == end ? step : -1;
}

// Whether a training writes a file or folder of this name into its run folder.
bool is_ours(const std::string& name) {
  // What a killed write_folder of NAME left: a reader would take .NAME.old for NAME.
  for (const std::string end : {".old", ".writing"})
    if (name.starts_with('.') && name.ends_with(end) && name.size() > 1 + end.size())
      return is_ours(name.substr(1, name.size() - 1 - end.size()));
  for (const char* own : {"state", "best", "last", "samples", "metrics.jsonl", predictions_file})
    if (name == own) return true;
  for (const char* control : control_file_names)
    if (name == control) return true;
  return step_of(name) >= 0 || name.starts_with("events.out.tfevents.");
}

// The lines of a log whose step is at most `step`; what follows the first other line is left out, a torn end too.
std::string lines_up_to(const std::string& log, int64_t step) {
  size_t begin = 0;
  while (true) {
    const size_t end = log.find('\n', begin);
    if (end == std::string::npos) break;
    const auto line = nlohmann::json::parse(log.begin() + static_cast<std::ptrdiff_t>(begin),
                                            log.begin() + static_cast<std::ptrdiff_t>(end), nullptr, false);
    if (!line.is_object() || !line.contains("step") || !line["step"].is_number_integer() || line["step"] > step) break;
    begin = end + 1;
  }
  return log.substr(0, begin);
}

}  // namespace

TrainingFolder::TrainingFolder(fs::path path) : path_(std::move(path)) {
  std::error_code error;
  fs::create_directories(path_ / "samples", error);
  if (error) fail("cannot make the run folder ", path_.string(), ": ", error.message());
  if (::access(path_.c_str(), W_OK) != 0)
    fail("cannot write into the run folder ", path_.string(), ": ", std::generic_category().message(errno));
  if (!is_first_rank()) return;
  lock_ = ::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (lock_ >= 0 && flock(lock_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    ::close(lock_);
    fail("another process trains in ", path_.string(), ": wait for its end, or give this run another name");
  }
}

TrainingFolder::~TrainingFolder() {
  if (metrics_ >= 0) ::close(metrics_);
  if (lock_ >= 0) ::close(lock_);
}

void TrainingFolder::clear() {
  if (!is_first_rank()) return;
  try {
    // First what a run would go on from: a kill in between must not leave it without the rest.
    for (const char* name : {".state.old", "state"}) fs::remove_all(path_ / name);
    std::vector<fs::path> ours;
    for (const auto& entry : fs::directory_iterator(path_))
      if (is_ours(entry.path().filename().string())) ours.push_back(entry.path());
    for (const fs::path& path : ours) fs::remove_all(path);
    fs::create_directories(path_ / "samples");
  } catch (const fs::filesystem_error& failure) {
    fail("cannot clear the run folder: ", failure.path1().string(), ": ", failure.code().message());
  }
}

void TrainingFolder::open_logs(int64_t step) {
  if (!is_first_rank()) return;
  if (fs::exists(metrics())) {
    const std::string log = read_text(metrics());
    const std::string kept = lines_up_to(log, step);
    if (kept.size() < log.size()) write_file(metrics(), kept);
  }
  metrics_ = open_to_append(metrics());
  events_ = std::make_unique<EventWriter>(path_, step);
}

void TrainingFolder::write_config(const std::string& toml) const {
  if (is_first_rank()) write_file(path_ / "task.cfg", toml);
}

void TrainingFolder::record(int64_t step, const std::string& split, const Metrics& metrics) {
  if (!is_first_rank()) return;
  nlohmann::ordered_json line;
  line["step"] = step;
  line["split"] = split;
  for (const auto& [name, value] : metrics) line[name] = value;
  append_to(metrics_, this->metrics(), line.dump() + "\n");
  events_->add(step, split, metrics);
}

void TrainingFolder::write_predictions(const std::string& lines) const {
  if (is_first_rank()) write_file(path_ / predictions_file, lines);
}

void TrainingFolder::write_samples(int64_t step, const std::string& text) const {
  if (is_first_rank()) write_file(path_ / "samples" / ("step_" + std::to_string(step) + ".txt"), text);
}

void TrainingFolder::keep_checkpoints(int keep) const {
  std::vector<int64_t> steps;
  for (const auto& entry : fs::directory_iterator(path_))
    if (const int64_t step = step_of(entry.path().filename().string()); step >= 0) steps.push_back(step);
  std::sort(steps.rbegin(), steps.rend());
  std::error_code ignored;  // one that stays is removed with the next
  for (size_t i = static_cast<size_t>(keep); i < steps.size(); ++i) fs::remove_all(checkpoint(steps[i]), ignored);
}

}  // namespace engine
