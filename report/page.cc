#include "report/page.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <ctime>
#include <ostream>

#include "core/version.h"
#include "report/page_files.h"
#include "report/series.h"

namespace engine {

using Json = nlohmann::ordered_json;

namespace {

constexpr size_t points_of_a_page = 120000, most_points = 800, least_points = 12;

void append_number(std::string& text, double value, int digits) {
  if (!std::isfinite(value)) {
    text += "null";
    return;
  }
  char characters[40];
  const auto end = std::to_chars(characters, characters + sizeof characters, value, std::chars_format::general, digits);
  text.append(characters, end.ptr);
}

void append_list(std::string& text, const char* name, const std::vector<double>& values, int digits) {
  if (values.empty()) return;
  if (text.back() != '{') text += ',';
  text.append("\"").append(name).append("\":[");
  for (size_t i = 0; i < values.size(); ++i) {
    if (i) text += ',';
    append_number(text, values[i], digits);
  }
  text += ']';
}

// {"x": steps, "y": means, "l": low, "h": high, "s": [smoothings]}.
std::string curve_json(const Curve& curve) {
  std::string text = "{";
  append_list(text, "x", curve.steps, 12);
  append_list(text, "y", curve.means, 5);
  if (curve.has_band) {
    append_list(text, "l", curve.low, 5);
    append_list(text, "h", curve.high, 5);
  }
  if (curve.is_thinned) {
    std::string levels = "{";
    for (const std::vector<double>& level : curve.smooth) append_list(levels, "", level, 5);
    // The names of these lists are left out.
    for (size_t at = 0; (at = levels.find("\"\":", at)) != std::string::npos;) levels.erase(at, 3);
    text.append(",\"s\":[").append(levels, 1).append("]");
  }
  return text + "}";
}

const Series* find_series(const MetricsFile& metrics, const std::string& key) {
  const auto found = metrics.series.find(key);
  return found == metrics.series.end() ? nullptr : &found->second;
}

// The log's lines as places on other axes: steps, tokens and seconds.
std::string axis_json(const MetricsFile& metrics) {
  std::string text = "{";
  const Series* const tokens = find_series(metrics, "train/tokens");
  const Series* const seconds = find_series(metrics, "train/seconds");
  const Series* const steps = tokens ? tokens : seconds;
  if (!steps) return R"({"step":[]})";
  Series chosen[3];
  const auto count = steps->steps.size(), kept = std::min<size_t>(count, 200);
  for (size_t i = 0; i < kept; ++i) {
    const size_t at = kept == 1 ? 0 : i * (count - 1) / (kept - 1);
    chosen[0].values.push_back(steps->steps[at]);
    if (tokens) chosen[1].values.push_back(tokens->values[at]);
    if (seconds && seconds->steps.size() == count) chosen[2].values.push_back(seconds->values[at]);
  }
  append_list(text, "step", chosen[0].values, 12);
  append_list(text, "tokens", chosen[1].values, 8);
  append_list(text, "seconds", chosen[2].values, 6);
  return text + "}";
}

// The last finite value.
double last_of(const Series* series) {
  if (series)
    for (size_t i = series->values.size(); i-- > 0;)
      if (std::isfinite(series->values[i])) return series->values[i];
  return NAN;
}

Json number(double value) { return std::isfinite(value) ? Json(value) : Json(); }

// Options that all runs have with the same value.
Json common_options(const std::vector<RunData>& runs) {
  Json common = Json::object();
  if (runs.empty()) return common;
  std::vector<std::map<std::string, std::string>> all;
  for (const RunData& run : runs) all.emplace_back(run.config.begin(), run.config.end());
  for (const auto& [name, value] : runs[0].config)
    if (std::all_of(all.begin(), all.end(), [&, &option = name, &same = value](const auto& one) {
          const auto found = one.find(option);
          return found != one.end() && found->second == same;
        }))
      common[name] = value;
  return common;
}

Json summary_of(const RunData& run, const Json& common) {
  Json json;
  json["name"] = run.name;
  json["folder"] = run.folder.string();
  json["differs"] = Json::object();
  for (const auto& [name, value] : run.config)
    if (!common.contains(name)) json["differs"][name] = value;
  const bool has_result = run.result.is_object();
  const auto of_result = [&](const char* name) {
    return has_result && run.result.contains(name) ? run.result[name] : Json();
  };
  json["reason"] = has_result ? of_result("reason") : Json("unfinished");
  for (const char* name : {"best", "best_metric", "best_step", "more_is_better", "memory_mib", "version"})
    json[name] = of_result(name);
  json["final"] = Json::object();
  double steps = 0;
  for (const auto& [key, series] : run.metrics.series) {
    if (!series.steps.empty()) steps = std::max(steps, series.steps.back());
    if (key.starts_with("eval/") || key == "train/loss") json["final"][key] = number(last_of(&series));
  }
  json["steps"] = steps;
  const double tokens = last_of(find_series(run.metrics, "train/tokens"));
  const double seconds = last_of(find_series(run.metrics, "train/seconds"));
  json["tokens"] = number(tokens);
  json["seconds"] = number(seconds);
  json["speed"] = number(std::isfinite(tokens) && seconds > 0
                             ? std::round(tokens / seconds)
                             : last_of(find_series(run.metrics, "train/tokens_per_second")));
  json["notes"] = run.notes;
  json["samples"] = Json::array();
  for (const auto& [step, text] : run.samples) json["samples"].push_back({step, text});
  const PredictionCounts& counts = run.predictions;
  Json& predictions = json["predictions"] = {{"all", counts.all}, {"right", counts.right}};
  predictions["confusion"] = counts.confusion;
  predictions["wrong"] = counts.wrong;
  predictions["levels"] = Json::array();
  for (const auto& [level, right_of_all] : counts.levels)
    predictions["levels"].push_back({level.first, level.second, right_of_all.first, right_of_all.second});
  return json;
}

// Runs that differ in their seeds alone, two or more.
std::vector<std::vector<size_t>> groups_of(const std::vector<RunData>& runs) {
  std::map<std::string, std::vector<size_t>> by_config;
  for (size_t i = 0; i < runs.size(); ++i)
    if (!runs[i].config.empty()) by_config[runs[i].group()].push_back(i);
  std::vector<std::vector<size_t>> groups;
  for (auto& [config, members] : by_config)
    if (members.size() > 1) groups.push_back(std::move(members));
  std::sort(groups.begin(), groups.end());
  return groups;
}

// {"train/loss": curve, ...}
class CurveList {
 public:
  void add(const std::string& key, const Band& band, size_t points) {
    if (text_.size() > 1) text_ += ',';
    text_.append(script_json(key)).append(":").append(curve_json(thinned(band, points)));
  }
  std::string json() const { return text_ + "}"; }

 private:
  std::string text_ = "{";
};

// Puts members behind the others of an object that is text already.
std::string with_members(std::string object, const std::vector<std::pair<const char*, std::string>>& members) {
  object.pop_back();
  for (const auto& [name, json] : members) object.append(",\"").append(name).append("\":").append(json);
  return object + "}";
}

std::string group_json(const ReportData& report, const std::vector<size_t>& members, size_t points) {
  Json json;
  const RunData& first = report.runs[members[0]];
  json["name"] = "mean of " + std::to_string(members.size()) + " seeds, " + first.name + " and others";
  json["runs"] = members;
  std::map<std::string, std::vector<const Series*>> series;
  for (const size_t i : members)
    for (const auto& [key, one] : report.runs[i].metrics.series) series[key].push_back(&one);
  CurveList curves;
  for (const auto& [key, runs] : series) curves.add(key, mean_of(runs), points);
  return with_members(script_json(json), {{"curves", curves.json()}});
}

std::string now_text() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm parts{};
  localtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M", &parts);
  return text;
}

std::string data_json(const ReportData& report, size_t points) {
  size_t read = 0, curves = 0;
  for (const RunData& run : report.runs)
    for (const auto& [key, series] : run.metrics.series) {
      read += series.steps.size();
      ++curves;
    }
  const std::vector<std::vector<size_t>> groups = groups_of(report.runs);
  if (points == 0) points = points_of_each(curves);
  const Json common = common_options(report.runs);
  Json json = {{"version", version}, {"made", now_text()}, {"points", read}, {"smoothing", smoothing_weights}};
  json["common"] = common;
  json["sweeps"] = Json::array();
  for (const SweepData& sweep : report.sweeps) {
    Json one = sweep.summary.is_object() ? sweep.summary : Json::object();
    one["name"] = sweep.name;
    one["trials"] = sweep.trials;
    json["sweeps"].push_back(one);
  }
  std::string runs = "[", group_list = "[";
  for (const RunData& run : report.runs) {
    CurveList list;
    for (const auto& [key, series] : run.metrics.series) list.add(key, {series.steps, series.values, {}, {}}, points);
    if (runs.size() > 1) runs += ",\n";
    runs += with_members(script_json(summary_of(run, common)),
                         {{"axis", axis_json(run.metrics)}, {"curves", list.json()}});
  }
  for (const std::vector<size_t>& members : groups) {
    if (group_list.size() > 1) group_list += ",\n";
    group_list += group_json(report, members, points);
  }
  return with_members(script_json(json), {{"runs", runs + "]"}, {"groups", group_list + "]"}});
}

}  // namespace

size_t points_of_each(size_t curves) {
  return std::clamp(points_of_a_page / std::max<size_t>(curves, 1), least_points, most_points);
}

std::string html_text(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (c == '&') result += "&amp;";
    else if (c == '<') result += "&lt;";
    else if (c == '>') result += "&gt;";
    else if (c == '"') result += "&quot;";
    else if (c == '\'') result += "&#39;";
    else result += c;
  }
  return result;
}

std::string script_json(const Json& json) {
  std::string result;
  for (const char c : json.dump(-1, ' ', false, Json::error_handler_t::replace))
    if (c == '<') result += "\\u003c";
    else result += c;
  return result;
}

void write_page(const ReportData& report, size_t points, std::ostream& out) {
  const std::string title = html_text(report.title), data = data_json(report, points);
  std::string_view rest = page_html();
  const std::pair<std::string_view, std::string_view> places[] = {
      {"@TITLE@", title}, {"@STYLE@", page_style()}, {"@DATA@", data}, {"@SCRIPT@", page_script()}};
  while (!rest.empty()) {
    size_t at = rest.size();
    std::string_view place, content;
    for (const auto& [name, text] : places)
      if (const size_t found = rest.find(name); found < at) {
        at = found;
        place = name;
        content = text;
      }
    out << rest.substr(0, at) << content;
    rest.remove_prefix(std::min(at + place.size(), rest.size()));
  }
}

}  // namespace engine
