#include "training/training_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <sstream>
#include <system_error>
#include <utility>

#include "core/end_line.h"
#include "core/files.h"
#include "core/folders.h"
#include "training/append.h"

namespace engine {

namespace fs = std::filesystem;

namespace {

// Returns the lines of a log up to the first that is torn or belongs to a step after `step`.
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

TrainingFolder::TrainingFolder(const fs::path& folder, const Communicator& ranks)
    : RunFolder(folder), is_first_(ranks.is_first()) {
  make_folders(samples());
  if (::access(path().c_str(), W_OK) != 0)
    fail("cannot write into the run folder ", path().string(), ": ", std::generic_category().message(errno));
  if (!is_first_) return;
  lock_ = ::open(path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (lock_ >= 0 && flock(lock_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    ::close(lock_);
    fail("another process trains in ", path().string(), ": wait for its end, or give this run another name");
  }
}

TrainingFolder::~TrainingFolder() {
  if (log_ >= 0) ::close(log_);
  if (lock_ >= 0) ::close(lock_);
}

void TrainingFolder::clear() {
  if (!is_first_) return;
  try {
    for (const fs::path& path : written()) fs::remove_all(path);
    make_folders(samples());
  } catch (const fs::filesystem_error& failure) {
    fail("cannot clear the run folder: ", failure.path1().string(), ": ", failure.code().message());
  }
}

void TrainingFolder::open_logs(int64_t step) {
  if (!is_first_) return;
  close_logs();
  log_lines_ = 0;
  if (fs::is_regular_file(metrics())) {
    const std::string log = read_text(metrics());
    const std::string kept = lines_up_to(log, step);
    if (kept.size() < log.size()) write_file(metrics(), kept);
    log_lines_ = std::count(kept.begin(), kept.end(), '\n');
  }
  log_ = open_to_append(metrics());
  events_ = std::make_unique<EventWriter>(path(), step);
}

void TrainingFolder::close_logs() {
  if (log_ >= 0) close_appended(std::exchange(log_, -1), metrics());
  if (events_) events_->close();
}

Metrics TrainingFolder::last_record(const std::string& split) const {
  Metrics metrics;
  if (!fs::is_regular_file(this->metrics())) return metrics;
  std::istringstream log(read_text(this->metrics()));
  for (std::string text; std::getline(log, text);) {
    const auto line = nlohmann::ordered_json::parse(text, nullptr, false);
    if (!line.is_object() || !line.contains("split") || line["split"] != split) continue;
    metrics.clear();
    for (const auto& [name, value] : line.items())
      if (name != "step" && value.is_number()) metrics.emplace_back(name, value.get<double>());
  }
  return metrics;
}

void TrainingFolder::write_config(const std::string& toml) const {
  if (is_first_) write_file(config(), with_end_line(toml));
}

void TrainingFolder::record(int64_t step, const std::string& split, const Metrics& metrics) {
  if (!is_first_) return;
  nlohmann::ordered_json line;
  line["step"] = step;
  line["split"] = split;
  for (const auto& [name, value] : metrics) line[name] = value;
  append_to(log_, this->metrics(), line.dump() + "\n");
  ++log_lines_;
  events_->add(step, split, metrics);
}

void TrainingFolder::write_predictions(const std::string& lines) const {
  if (is_first_) write_file(predictions(), lines);
}

void TrainingFolder::write_samples(int64_t step, const std::string& text) const {
  if (is_first_) write_file(sample(step), text);
}

void TrainingFolder::keep_checkpoints(int keep) const {
  const std::vector<int64_t> steps = checkpoints();
  std::error_code ignored;  // a file that stays is removed with the next
  for (size_t i = static_cast<size_t>(keep); i < steps.size(); ++i) fs::remove_all(checkpoint(steps[i]), ignored);
}

}  // namespace engine
