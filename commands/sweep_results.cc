#include "commands/sweep_results.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/files.h"
#include "core/listing.h"

namespace engine {

using Json = nlohmann::ordered_json;

namespace {

constexpr size_t most_single_values = 5, quantiles = 4;

std::string text_of(double value) {
  std::ostringstream text;
  text << value;
  return text.str();
}

bool is_number(const std::string& text) {
  char* end = nullptr;
  std::strtod(text.c_str(), &end);
  return !text.empty() && *end == 0;
}

std::string option_of(const SweepTrial& trial, const std::string& option) {
  for (const auto& [name, value] : trial.options)
    if (name == option) return value;
  return {};
}

struct Group {
  std::string name;
  double sum = 0;
  size_t count = 0;
};

// The groups of trials by one option's value.
std::vector<Group> groups_of(std::vector<const SweepTrial*> trials, const std::string& option, size_t& values) {
  std::map<std::string, Group> by_value;
  for (const SweepTrial* trial : trials) {
    const std::string value = option_of(*trial, option);
    Group& group = by_value[value];
    group.name = value;
    group.sum += trial->values[0];
    ++group.count;
  }
  values = by_value.size();
  std::vector<Group> groups;
  const bool are_numbers =
      std::all_of(by_value.begin(), by_value.end(), [](const auto& one) { return is_number(one.first); });
  if (values <= most_single_values || !are_numbers) {
    for (const auto& [value, group] : by_value) groups.push_back(group);
    return groups;
  }
  const auto number = [&](const SweepTrial* trial) { return std::stod(option_of(*trial, option)); };
  std::stable_sort(trials.begin(), trials.end(),
                   [&](const SweepTrial* a, const SweepTrial* b) { return number(a) < number(b); });
  for (size_t q = 0; q < quantiles; ++q) {
    const size_t begin = q * trials.size() / quantiles, end = (q + 1) * trials.size() / quantiles;
    Group& group = groups.emplace_back();
    group.name = option_of(*trials[begin], option) + " to " + option_of(*trials[end - 1], option);
    for (size_t i = begin; i < end; ++i) group.sum += trials[i]->values[0];
    group.count = end - begin;
  }
  return groups;
}

Json json_of(const SweepTrial& trial) {
  Json entry = {{"name", trial.name}, {"state", trial.state}};
  entry["options"] = Json::object();
  for (const auto& [name, value] : trial.options) entry["options"][name] = value;
  entry["value"] = trial.has_value() ? Json(trial.values.back()) : Json();
  entry["values"] = trial.values;
  entry["best_step"] = trial.best_step;
  entry["step"] = trial.step;
  entry["seconds"] = trial.seconds;
  if (!trial.error.empty()) entry["error"] = trial.error;
  return entry;
}

}  // namespace

const SweepTrial* SweepResults::best() const {
  const SweepTrial* best = nullptr;
  for (const SweepTrial& trial : trials) {
    if (!trial.has_value()) continue;
    if (!best || trial.values.size() > best->values.size() ||
        (trial.values.size() == best->values.size() && is_better(trial.values.back(), best->values.back())))
      best = &trial;
  }
  return best;
}

std::vector<Importance> importance_of(const SweepResults& results) {
  std::vector<const SweepTrial*> trials;
  for (const SweepTrial& trial : results.trials)
    if (trial.has_value()) trials.push_back(&trial);
  if (trials.size() < 3) return {};
  double mean = 0, variance = 0;
  for (const SweepTrial* trial : trials) mean += trial->values[0] / static_cast<double>(trials.size());
  for (const SweepTrial* trial : trials) variance += (trial->values[0] - mean) * (trial->values[0] - mean);
  std::vector<Importance> all;
  for (const auto& option : trials[0]->options) {
    Importance& one = all.emplace_back();
    one.option = option.first;
    double explained = 0, best = NAN;
    for (const Group& group : groups_of(trials, one.option, one.values)) {
      const double own = group.sum / static_cast<double>(group.count);
      explained += static_cast<double>(group.count) * (own - mean) * (own - mean);
      if (std::isnan(best) || results.is_better(own, best)) {
        best = own;
        one.best = group.name;
      }
    }
    one.share = variance > 0 ? explained / variance : 0;
  }
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.share > b.share; });
  return all;
}

std::string results_markdown(const SweepResults& results) {
  std::ostringstream text;
  if (const SweepTrial* const best = results.best())
    text << "The best is " << best->name << ": " << results.metric << ' ' << best->values.back() << " at step "
         << best->best_step << ".\n\n";
  text << "| trial | state |";
  const SweepPoint none, &options = results.trials.empty() ? none : results.trials[0].options;
  for (const auto& [name, value] : options) text << ' ' << table_cell(name) << " |";
  text << ' ' << table_cell(results.metric) << " | at step | steps | error |\n|---|---|";
  for (size_t i = 0; i < options.size() + 4; ++i) text << "---|";
  text << '\n';
  for (const SweepTrial& trial : results.trials) {
    text << "| " << trial.name << " | " << trial.state << " |";
    for (const auto& [name, value] : trial.options) text << ' ' << table_cell(value) << " |";
    text << ' ' << (trial.has_value() ? text_of(trial.values.back()) : "") << " | " << trial.best_step << " | "
         << trial.step << " | " << table_cell(trial.error) << " |\n";
  }
  const std::vector<Importance> all = importance_of(results);
  if (all.empty()) return text.str();
  text << "\n| option | explains | values | best value |\n|---|---|---|---|\n";
  for (const Importance& one : all)
    text << "| " << one.option << " | " << std::lround(100 * one.share) << " % | " << one.values << " | "
         << table_cell(one.best) << " |\n";
  return text.str();
}

void write_results(const SweepFolder& folder, const SweepResults& results) {
  std::string lines;
  for (const SweepTrial& trial : results.trials)
    lines += json_of(trial).dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  write_file(folder.results(), lines);
  write_file(folder.table(), results_markdown(results));
  Json summary = {{"metric", results.metric}, {"more_is_better", results.more_is_better}};
  summary["importance"] = Json::array();
  for (const Importance& one : importance_of(results))
    summary["importance"].push_back(
        {{"option", one.option}, {"share", one.share}, {"values", one.values}, {"best", one.best}});
  write_file(folder.summary(), summary.dump(2) + "\n");
}

void read_results(const SweepFolder& folder, SweepResults& results) {
  const SweepNotes notes = read_notes(folder);
  if (notes.summary.is_object()) {
    results.metric = notes.summary.value("metric", results.metric);
    results.more_is_better = notes.summary.value("more_is_better", false);
  }
  for (const Json& entry : notes.trials) {
    const auto trial = std::find_if(results.trials.begin(), results.trials.end(),
                                    [&](const SweepTrial& one) { return one.name == entry.value("name", ""); });
    if (trial == results.trials.end()) continue;
    trial->state = entry.value("state", "waiting");
    if (trial->state != "failed") trial->state = "waiting";
    trial->values = entry.value("values", std::vector<double>());
    trial->best_step = entry.value("best_step", int64_t{0});
    trial->step = entry.value("step", int64_t{0});
    trial->seconds = entry.value("seconds", 0.0);
    trial->error = entry.value("error", "");
  }
}

}  // namespace engine
