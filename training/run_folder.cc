#include "training/run_folder.h"

#include <algorithm>
#include <charconv>

#include "core/error.h"
#include "core/files.h"

namespace engine {

namespace fs = std::filesystem;

namespace {

const std::string checkpoint_prefix = "checkpoint-", events_prefix = "events.out.tfevents.";
constexpr size_t longest_name = 255;  // bytes of a file's name

// Returns the step in a checkpoint's name, and -1 for any other name.
int64_t step_of(const std::string& name) {
  if (!name.starts_with(checkpoint_prefix)) return -1;
  int64_t step = -1;
  const char* const end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data() + checkpoint_prefix.size(), end, step);
  return error == std::errc{} && stop == end ? step : -1;
}

bool is_model(const fs::path& folder) { return fs::exists(folder / "config.json"); }

}  // namespace

void check_name(const std::string& name) {
  if (name.empty()) fail_usage("the run has no name: set name, which its folder in output_dir will have");
  const std::string right = ": it is the name of one folder in output_dir, such as \"shakespeare\"";
  if (name.size() > longest_name)
    fail_usage("name has ", name.size(), " bytes, a folder's name has at most ", longest_name, right);
  const auto is_control = [](unsigned char c) { return c < 0x20 || c == 0x7f; };
  if (std::any_of(name.begin(), name.end(), is_control)) fail_usage("name holds a control character", right);
  const bool is_place = name == "." || name == ".." || name.find('/') != std::string::npos;
  if (is_place || name.find_first_of("\\*?\"<>|") != std::string::npos || name.front() == '-' ||
      name.front() == ' ' || name.back() == ' ')
    fail_usage("name is \"", name, "\"", right, ". It has none of / \\ * ? \" < > | in it, no space at an end, and no ",
               "- at its beginning");
}

StateFolder StateFolder::written(const fs::path& folder) { return StateFolder(written_folder(folder)); }

RunFolder RunFolder::of(const Config& config) {
  check_name(config.name);
  return RunFolder(fs::path(config.output_dir) / config.name);
}

RunFolder RunFolder::around(const fs::path& model) {
  const fs::path folder = fs::absolute(model).lexically_normal();
  const RunFolder run(folder.parent_path());
  const fs::path name = name_behind_aside(folder.filename().string());
  const bool is_one_of = name == run.best().filename() || name == run.last().filename();
  return is_one_of && fs::exists(run.config()) ? run : RunFolder({});
}

fs::path RunFolder::sample(int64_t step) const { return samples() / ("step_" + std::to_string(step) + ".txt"); }

fs::path RunFolder::checkpoint(int64_t step) const { return path_ / (checkpoint_prefix + std::to_string(step)); }

fs::path RunFolder::events(int64_t number) const {
  return path_ / (events_prefix + std::to_string(number) + ".engine");
}

fs::path RunFolder::model() const {
  for (const fs::path& folder : {best(), last()})
    if (const fs::path model = written_folder(folder); is_model(model)) return model;
  return {};
}

std::vector<int64_t> RunFolder::checkpoints() const {
  std::vector<int64_t> steps;
  for (const fs::path& entry : entries_of(path_))
    if (const int64_t step = step_of(entry.filename().string()); step >= 0) steps.push_back(step);
  std::sort(steps.rbegin(), steps.rend());
  return steps;
}

std::vector<fs::path> RunFolder::written() const {
  std::vector<fs::path> state, rest;
  for (const fs::path& entry : entries_of(path_)) {
    // A killed write_folder of NAME leaves its content beside it, and a reader would take that for NAME.
    const std::string name = name_behind_aside(entry.filename().string());
    const fs::path path = path_ / name;
    if (path == this->state()) {
      state.push_back(entry);
      continue;
    }
    bool is_ours = step_of(name) >= 0 || name.starts_with(events_prefix);
    for (const fs::path& own : {best(), last(), samples(), metrics(), predictions(), result(), stop(), stop_now(),
                                save_checkpoint(), examples("star"), examples("aug"), examples("axe")})
      is_ours = is_ours || path == own;
    if (is_ours) rest.push_back(entry);
  }
  // A former state is read where the state itself is missing, so it is removed first.
  std::sort(state.begin(), state.end());
  state.insert(state.end(), rest.begin(), rest.end());
  return state;
}

}  // namespace engine
