#include "training/state.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/files.h"
#include "core/folders.h"
#include "core/json.h"
#include "core/safetensors.h"
#include "training/run_folder.h"

namespace engine {

namespace fs = std::filesystem;

namespace {

std::vector<int64_t> sizes_of(const Shape& shape) {
  return {shape.sizes.begin(), shape.sizes.begin() + shape.rank};
}

// Returns the tensors that a state has of a parameter, its value first.
std::vector<StateTensor> tensors_of(const StateTensors& state, const Parameter& p) {
  std::vector<StateTensor> tensors{{"value", &p, p.value}};
  for (const StateTensor& tensor : state.tensors)
    if (tensor.parameter == &p) tensors.push_back(tensor);
  return tensors;
}

// Returns the tensors of a state in their order in the file.
std::vector<StateTensor> listed(const StateTensors& state) {
  std::vector<StateTensor> all;
  for (const Parameter& p : state.parameters.all())
    for (const StateTensor& tensor : tensors_of(state, p)) all.push_back(tensor);
  return all;
}

// Returns a tensor of which each rank has a shard. All ranks call it.
std::vector<float> gathered(const StateTensors& state, const StateTensor& shard) {
  std::vector<float> own(static_cast<size_t>(shard.tensor.count()));
  state.parameters.memory().copy_out(own.data(), shard.tensor.data, shard.tensor.bytes());
  return state.ranks->gather(own);
}

void load(const StateTensors& state, const StateTensor& tensor, const Safetensors::Entry& entry) {
  if (tensor.kind == "value")
    state.parameters.write(state.parameters.all()[tensor.parameter->index], 0, tensor.tensor.count(), entry.data);
  else
    state.parameters.memory().copy_in(tensor.tensor.data,
                                      entry.data + static_cast<size_t>(tensor.begin) * sizeof(float),
                                      tensor.tensor.bytes());
}

// Maps "section.key" to its value as Options::toml writes it.
std::map<std::string, std::string> values_of(const std::string& toml) {
  std::map<std::string, std::string> values;
  std::istringstream lines(toml);
  std::string section;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with('[')) section = line.substr(1, line.find(']') - 1) + ".";
    const size_t equals = line.find(" = ");
    if (equals != std::string::npos) values[section + line.substr(0, equals)] = line.substr(equals + 3);
  }
  return values;
}

// Adds the sizes of a folder's files, by their paths in it.
void add_sizes(const fs::path& folder, const std::string& prefix, nlohmann::ordered_json& sizes) {
  std::vector<fs::path> entries = entries_of(folder);
  std::sort(entries.begin(), entries.end());
  for (const fs::path& entry : entries) {
    const std::string name = prefix + entry.filename().string();
    if (fs::is_directory(entry)) add_sizes(entry, name + "/", sizes);
    else sizes[name] = fs::file_size(entry);
  }
}

const char* const torn_advice = ": put the whole state back, or start anew with --resume false or another --name";

// States of older versions do not know their sizes.
void check_sizes(const StateFolder& state, const nlohmann::json& progress, const std::string& where) {
  const nlohmann::json* const sizes = json_find(progress, "files", where);
  if (!sizes) return;
  require(sizes->is_object(), where, ": \"files\" must be an object of sizes");
  for (const auto& [name, bytes] : sizes->items()) {
    const fs::path file = state.path() / name;
    std::error_code error;
    const auto size = fs::file_size(file, error);
    if (error) fail("cannot read ", file.string(), ": ", error.message(), ", but the state has it", torn_advice);
    if (bytes != size)
      fail(file.string(), ": has ", size, " bytes, but was written with ", bytes.dump().substr(0, 20), torn_advice);
  }
}

bool fits(const Safetensors::Entry& entry, const StateTensor& tensor) {
  return entry.dtype == "F32" && entry.shape == sizes_of(tensor.parameter->shape);
}

}  // namespace

void save_state(const fs::path& folder, const StateTensors& tensors, const TrainingProgress& progress,
                const std::string& configuration, const std::string& fingerprint,
                const std::function<void(const fs::path&)>& save_task) {
  std::vector<SafetensorsItem> items;
  for (const StateTensor& saved : listed(tensors))
    items.push_back({saved.name(), "F32", sizes_of(saved.parameter->shape), [&tensors, saved](char* destination) {
                       if (!saved.is_shard) {
                         const Tensor& tensor = saved.tensor;
                         return tensors.parameters.memory().copy_out(destination, tensor.data, tensor.bytes());
                       }
                       const std::vector<float> whole = gathered(tensors, saved);
                       std::memcpy(destination, whole.data(), whole.size() * sizeof(float));
                     }});
  nlohmann::ordered_json json{{"version", progress.version},
                              {"step", progress.step},
                              {"has_best", progress.has_best},
                              {"best", progress.best},
                              {"best_step", progress.best_step},
                              {"evaluations_without_better", progress.evaluations_without_better},
                              {"window_loss", progress.window_loss},
                              {"window_scored", progress.window_scored},
                              {"window_correct", progress.window_correct},
                              {"learning_rate", progress.learning_rate},
                              {"tokens", progress.tokens},
                              {"seconds", progress.seconds},
                              {"run_seconds", progress.run_seconds},
                              {"max_minutes", progress.max_minutes},
                              {"steps_before", progress.steps_before},
                              {"fresh", progress.fresh},
                              {"learning_rate_before", progress.learning_rate_before},
                              {"goes_on_since", progress.goes_on_since},
                              {"steps", progress.steps},
                              {"rollbacks", progress.rollbacks},
                              {"data_offset", progress.data_offset},
                              {"steps_without_labels", progress.steps_without_labels},
                              {"averaged", progress.averaged},
                              {"log_lines", progress.log_lines},
                              {"plateau_reductions", progress.observed.reductions},
                              {"plateau_evaluations", progress.observed.evaluations},
                              {"warmup_seconds", progress.observed.warmup_seconds}};
  write_folder(folder, [&](const fs::path& aside) {
    const StateFolder to(aside);
    write_safetensors(to.tensors(), items);
    write_file(to.configuration(), configuration);
    if (!fingerprint.empty()) write_file(to.fingerprint(), fingerprint + "\n");
    if (save_task) {
      make_folders(to.task());
      save_task(to.task());
    }
    add_sizes(aside, "", json["files"]);
    write_file(to.progress(), json.dump(2) + "\n");
  });
}

void send_shards(const StateTensors& tensors) {
  for (const StateTensor& saved : listed(tensors))
    if (saved.is_shard) gathered(tensors, saved);
}

bool has_state(const fs::path& folder) {
  const StateFolder state = StateFolder::written(folder);
  if (fs::exists(state.progress())) return true;
  if (fs::exists(state.path())) fail(state.progress().string(), " is missing, but its folder is there", torn_advice);
  return false;
}

TrainingProgress read_progress(const fs::path& state) {
  const fs::path file = StateFolder::written(state).progress();
  const std::string where = file.string();
  const nlohmann::json json = parse_json_file(file);
  check_sizes(StateFolder::written(state), json, where);
  constexpr int64_t most = int64_t{1} << 53;
  TrainingProgress progress;
  progress.step = json_integer(json, "step", where, 0, most);
  progress.has_best = json_bool(json, "has_best", where);
  progress.best = json_number(json, "best", where);
  progress.best_step = json_integer(json, "best_step", where, 0, most);
  progress.evaluations_without_better = json_integer(json, "evaluations_without_better", where, 0, most);
  progress.window_loss = json_number(json, "window_loss", where);
  progress.window_scored = json_number(json, "window_scored", where);
  progress.window_correct = json_number(json, "window_correct", where);
  // States of older versions lack some or all of the numbers that follow.
  progress.version = json_integer(json, "version", where, 1, most, 1);
  if (progress.version > TrainingProgress::present_version)
    fail(where, ": is of a newer version of this program: take that one, or start anew with --resume false");
  progress.rollbacks = json_integer(json, "rollbacks", where, 0, most, 0);
  progress.data_offset = json_integer(json, "data_offset", where, 0, most, 0);
  progress.steps_without_labels = json_integer(json, "steps_without_labels", where, 0, most, 0);
  progress.averaged = json_integer(json, "averaged", where, 0, most, 0);
  progress.log_lines = json_integer(json, "log_lines", where, 0, most, 0);
  progress.observed.reductions = json_integer(json, "plateau_reductions", where, 0, most, 0);
  progress.observed.evaluations = json_integer(json, "plateau_evaluations", where, 0, most, 0);
  progress.observed.warmup_seconds = json_number(json, "warmup_seconds", where, 0);
  progress.learning_rate = json_number(json, "learning_rate", where, 0);
  progress.tokens = json_integer(json, "tokens", where, 0, most, 0);
  progress.seconds = json_number(json, "seconds", where, 0);
  progress.run_seconds = json_number(json, "run_seconds", where, 0);
  progress.max_minutes = json_number(json, "max_minutes", where, 0);
  progress.steps_before = json_integer(json, "steps_before", where, 0, most, 0);
  progress.learning_rate_before = json_number(json, "learning_rate_before", where, 0);
  progress.goes_on_since = json_integer(json, "goes_on_since", where, 0, most, 0);
  progress.steps = json_integer(json, "steps", where, 0, most, 0);
  if (const nlohmann::json* fresh = json_find(json, "fresh", where)) {
    for (const nlohmann::json& name : *fresh) {
      require(name.is_string(), where, ": \"fresh\" must be a list of names");
      progress.fresh.push_back(name.get<std::string>());
    }
  }
  return progress;
}

TrainingProgress load_state(const fs::path& state, const StateTensors& tensors) {
  const StateFolder files = StateFolder::written(state);
  const std::string folder = files.path().string();
  const TrainingProgress progress = read_progress(state);
  const Safetensors file = Safetensors::open(files.tensors());
  const std::string advice = ": start anew with --resume false or another --name";
  const std::vector<StateTensor> all = listed(tensors);
  for (const StateTensor& saved : all) {
    const auto found = file.entries().find(saved.name());
    if (found == file.entries().end()) fail(folder, " has no tensor ", saved.name(), " of this model", advice);
    if (!fits(found->second, saved))
      fail(folder, ": the tensor ", saved.name(), " is not f32 ", saved.parameter->shape.text(), " as in this model",
           advice);
  }
  if (all.size() != file.entries().size()) fail(folder, " holds tensors that this model has not", advice);
  for (const StateTensor& saved : all) load(tensors, saved, file.entries().at(saved.name()));
  return progress;
}

FittingState load_fitting_state(const fs::path& state, const StateTensors& tensors) {
  FittingState result{.progress = read_progress(state)};
  const Safetensors file = Safetensors::open(StateFolder::written(state).tensors());
  std::map<std::string, bool> taken;  // tensors of the file
  for (const auto& [name, entry] : file.entries()) taken[name] = false;
  for (const Parameter& p : tensors.parameters.all()) {
    const std::vector<StateTensor> parts = tensors_of(tensors, p);
    const bool all_fit = std::all_of(parts.begin(), parts.end(), [&](const StateTensor& part) {
      const auto found = file.entries().find(part.name());
      return found != file.entries().end() && fits(found->second, part);
    });
    if (!all_fit) {
      result.fresh.push_back(p.name);
      continue;
    }
    ++result.loaded;
    for (const StateTensor& part : parts) {
      load(tensors, part, file.entries().at(part.name()));
      taken[part.name()] = true;
    }
  }
  const std::string value = "value/";
  for (const auto& [name, is_taken] : taken)
    if (!is_taken && name.starts_with(value)) result.left_out.push_back(name.substr(value.size()));
  return result;
}

std::string read_task_state(const fs::path& task_folder, const std::string& file) {
  if (fs::exists(task_folder / file)) return read_text(task_folder / file);
  const fs::path progress = StateFolder(task_folder.parent_path()).progress();
  const nlohmann::json json = parse_json_file(progress);
  if (!json_has(json, "task", progress.string())) fail((task_folder / file).string(), " is missing: the state is torn");
  return json_string(json, "task", progress.string());
}

std::string option_of_state(const fs::path& state, const std::string& name) {
  const auto values = values_of(read_text(StateFolder::written(state).configuration()));
  const auto found = values.find(name);
  return found == values.end() ? "" : found->second;
}

void check_same_training(const fs::path& state, const Options& options) {
  const fs::path file = StateFolder::written(state).configuration();
  const std::map<std::string, std::string> then = values_of(read_text(file));
  for (const Options::Option& option : options.all()) {
    const auto found = then.find(option.name);
    // A state of an older version does not know an option, which then was at its default.
    const std::string& before = found == then.end() ? option.default_text : found->second;
    if (before != option.text() && !option.can_change)
      fail_usage(state.string(), " is of a training with ", option.name, " = ", before, "; now it is ", option.text(),
                 ": set it back to go on, or start anew with --resume false or another --name");
  }
}

void check_same_data(const fs::path& state, const std::string& fingerprint) {
  const fs::path file = StateFolder::written(state).fingerprint();
  if (!fs::exists(file)) return;
  std::string then = read_text(file);
  if (then.ends_with('\n')) then.pop_back();
  if (then != fingerprint)
    fail_usage(state.string(), " is of a training on other data or with another tokenizer: then ", then, "; now ",
               fingerprint, ": put the old data back to go on, or start anew with --resume false or another --name");
}

}  // namespace engine
