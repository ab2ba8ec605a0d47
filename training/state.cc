#include "training/state.h"

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/files.h"
#include "core/json.h"
#include "core/safetensors.h"
#include "training/run_folder.h"

namespace engine {

namespace fs = std::filesystem;

namespace {

std::vector<int64_t> sizes_of(const Shape& shape) {
  return {shape.sizes.begin(), shape.sizes.begin() + shape.rank};
}

struct SavedTensor {
  std::string name;
  Tensor tensor;
  Parameter* value_of;  // null: a moment
};
std::array<SavedTensor, 3> saved_tensors(Parameter& p, const AdamWTensor& tensors) {
  return {{{"value/" + p.name, tensors.value, &p}, {"m/" + p.name, tensors.m}, {"v/" + p.name, tensors.v}}};
}

// visit(saved tensor) for everything that is saved.
template <class Visit>
void for_each_tensor(const Optimizer& optimizer, const Visit& visit) {
  size_t i = 0;
  for (Parameter& p : optimizer.parameters().all())
    for (const SavedTensor& saved : saved_tensors(p, optimizer.tensors()[i++])) visit(saved);
}

void load(Optimizer& optimizer, const SavedTensor& saved, const Safetensors::Entry& entry) {
  if (saved.value_of)
    optimizer.parameters().write(*saved.value_of, 0, saved.tensor.count(), entry.data);
  else
    optimizer.memory().copy_in(saved.tensor.data, entry.data, saved.tensor.bytes());
}

// "section.key" -> value as Options::toml writes it.
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

bool fits(const Safetensors::Entry& entry, const Tensor& tensor) {
  return entry.dtype == "F32" && entry.shape == sizes_of(tensor.shape);
}

}  // namespace

void save_state(const fs::path& folder, const Optimizer& optimizer, const TrainingProgress& progress,
                const std::string& configuration, const std::string& fingerprint) {
  std::vector<SafetensorsItem> items;
  for_each_tensor(optimizer, [&](const SavedTensor& saved) {
    const Tensor& tensor = saved.tensor;
    items.push_back({saved.name, "F32", sizes_of(tensor.shape), [&optimizer, tensor](char* destination) {
                       optimizer.memory().copy_out(destination, tensor.data, tensor.bytes());
                     }});
  });
  const nlohmann::ordered_json json{{"step", progress.step},
                                    {"has_best", progress.has_best},
                                    {"best", progress.best},
                                    {"best_step", progress.best_step},
                                    {"evaluations_without_better", progress.evaluations_without_better},
                                    {"window_loss", progress.window_loss},
                                    {"window_scored", progress.window_scored},
                                    {"window_correct", progress.window_correct},
                                    {"task", progress.task},
                                    {"learning_rate", progress.learning_rate},
                                    {"steps_before", progress.steps_before},
                                    {"fresh", progress.fresh},
                                    {"learning_rate_before", progress.learning_rate_before},
                                    {"goes_on_since", progress.goes_on_since},
                                    {"steps", progress.steps}};
  write_folder(folder, [&](const fs::path& aside) {
    const StateFolder files(aside);
    write_safetensors(files.tensors(), items);
    write_file(files.progress(), json.dump(2) + "\n");
    write_file(files.configuration(), configuration);
    if (!fingerprint.empty()) write_file(files.fingerprint(), fingerprint + "\n");
  });
}

bool has_state(const fs::path& folder) { return fs::exists(StateFolder::written(folder).progress()); }

TrainingProgress read_progress(const fs::path& state) {
  const fs::path file = StateFolder::written(state).progress();
  const std::string where = file.string();
  const nlohmann::json json = parse_json_file(file);
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
  progress.task = json_string(json, "task", where, "");  // a state of an older version has none
  // States of older versions do not tell of what follows.
  progress.learning_rate = json_number(json, "learning_rate", where, 0);
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

TrainingProgress load_state(const fs::path& state, Optimizer& optimizer) {
  const StateFolder files = StateFolder::written(state);
  const std::string folder = files.path().string();
  const TrainingProgress progress = read_progress(state);
  const Safetensors file = Safetensors::open(files.tensors());
  const std::string advice = ": start anew with --resume false or another --name";
  size_t count = 0;
  for_each_tensor(optimizer, [&](const SavedTensor& saved) {
    const auto& [name, tensor, value_of] = saved;
    const auto found = file.entries().find(name);
    if (found == file.entries().end()) fail(folder, " has no tensor ", name, " of this model", advice);
    if (!fits(found->second, tensor))
      fail(folder, ": the tensor ", name, " is not f32 ", tensor.shape.text(), " as in this model", advice);
    ++count;
  });
  if (count != file.entries().size()) fail(folder, " holds tensors that this model has not", advice);
  for_each_tensor(optimizer,
                  [&](const SavedTensor& saved) { load(optimizer, saved, file.entries().at(saved.name)); });
  optimizer.set_steps_before(progress.steps_before, progress.fresh);
  return progress;
}

FittingState load_fitting_state(const fs::path& state, Optimizer& optimizer) {
  FittingState result{.progress = read_progress(state)};
  const Safetensors file = Safetensors::open(StateFolder::written(state).tensors());
  std::map<std::string, bool> taken;  // tensors of the file
  for (const auto& [name, entry] : file.entries()) taken[name] = false;
  size_t i = 0;
  for (Parameter& p : optimizer.parameters().all()) {
    const std::array<SavedTensor, 3> parts = saved_tensors(p, optimizer.tensors()[i++]);
    const bool all_fit = std::all_of(parts.begin(), parts.end(), [&](const SavedTensor& part) {
      const auto found = file.entries().find(part.name);
      return found != file.entries().end() && fits(found->second, part.tensor);
    });
    if (!all_fit) {
      result.fresh.push_back(p.name);
      continue;
    }
    ++result.loaded;
    for (const SavedTensor& part : parts) {
      load(optimizer, part, file.entries().at(part.name));
      taken[part.name] = true;
    }
  }
  const std::string value = "value/";
  for (const auto& [name, is_taken] : taken)
    if (!is_taken && name.starts_with(value)) result.left_out.push_back(name.substr(value.size()));
  return result;
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
    // A state of an older version does not know an option: then it was at its default.
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
