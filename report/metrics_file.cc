#include "report/metrics_file.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>
#include <unordered_map>
#include <utility>

namespace engine {

namespace {

// Reads the members of one line's object. Every method returns whether the line still is what it should be.
class Line {
 public:
  explicit Line(std::string_view text) : at_(text.data()), end_(text.data() + text.size()) {}

  bool take(char wanted) {
    skip_space();
    if (at_ == end_ || *at_ != wanted) return false;
    ++at_;
    return true;
  }
  bool is_next(char wanted) {
    skip_space();
    return at_ != end_ && *at_ == wanted;
  }
  bool is_done() {
    skip_space();
    return at_ == end_;
  }
  // Reads a string as it is written. Escapes stay, since no name of ours has any.
  bool string(std::string_view& text) {
    if (!take('"')) return false;
    const char* const begin = at_;
    for (; at_ != end_ && *at_ != '"'; ++at_)
      if (*at_ == '\\' && ++at_ == end_) return false;
    if (at_ == end_) return false;
    text = {begin, static_cast<size_t>(at_ - begin)};
    ++at_;
    return true;
  }
  // Reads a value. `is_number` tells whether it is one, perhaps one that is not finite.
  bool value(double& number, bool& is_number) {
    is_number = false;
    skip_space();
    if (at_ == end_) return false;
    if (*at_ == '"' || *at_ == '{' || *at_ == '[') return skip_value();
    for (const auto& [word, meaning] : words)
      if (std::string_view(at_, static_cast<size_t>(end_ - at_)).starts_with(word)) {
        at_ += word.size();
        is_number = meaning != Meaning::truth;
        number = nan_value;
        return true;
      }
    const auto [stop, error] = std::from_chars(at_, end_, number);
    if (error == std::errc::result_out_of_range) number = nan_value;
    else if (error != std::errc{}) return false;
    at_ = stop;
    return is_number = true;
  }

 private:
  enum class Meaning { truth, not_finite };
  static constexpr std::pair<std::string_view, Meaning> words[] = {
      {"null", Meaning::not_finite},      {"NaN", Meaning::not_finite},   {"nan", Meaning::not_finite},
      {"-NaN", Meaning::not_finite},      {"-nan", Meaning::not_finite},  {"Infinity", Meaning::not_finite},
      {"-Infinity", Meaning::not_finite}, {"inf", Meaning::not_finite},   {"-inf", Meaning::not_finite},
      {"true", Meaning::truth},           {"false", Meaning::truth}};

  void skip_space() {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\t' || *at_ == '\r')) ++at_;
  }
  // Passes over a string, a list or an object, whose brackets are counted.
  bool skip_value() {
    int64_t depth = 0;
    do {
      skip_space();
      if (at_ == end_) return false;
      if (std::string_view ignored; *at_ == '"') {
        if (!string(ignored)) return false;
        continue;
      }
      depth += (*at_ == '{' || *at_ == '[') - (*at_ == '}' || *at_ == ']');
      ++at_;
    } while (depth > 0);
    return true;
  }

  const char *at_, *end_;
};

struct Numbers {
  double step = nan_value;
  std::string_view split = "train";
  std::vector<std::pair<std::string_view, double>> metrics;
};

bool read_line(std::string_view text, Numbers& numbers) {
  numbers.step = nan_value;
  numbers.split = "train";
  numbers.metrics.clear();
  Line line(text);
  if (!line.take('{')) return false;
  while (!line.is_next('}')) {
    std::string_view name;
    if (!line.string(name) || !line.take(':')) return false;
    double number = 0;
    bool is_number = false;
    if (name == "split" && line.is_next('"')) {
      if (!line.string(numbers.split)) return false;
    } else if (!line.value(number, is_number)) {
      return false;
    } else if (is_number && name == "step") {
      numbers.step = number;
    } else if (is_number) {
      numbers.metrics.emplace_back(name, number);
    }
    if (!line.take(',')) break;
  }
  return line.take('}') && line.is_done() && std::isfinite(numbers.step);
}

void sort_by_step(Series& series) {
  if (std::is_sorted(series.steps.begin(), series.steps.end())) return;
  std::vector<size_t> order(series.steps.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return series.steps[a] < series.steps[b]; });
  Series sorted;
  for (const size_t i : order) {
    sorted.steps.push_back(series.steps[i]);
    sorted.values.push_back(series.values[i]);
  }
  series = std::move(sorted);
}

}  // namespace

MetricsFile parse_metrics(std::string_view text) {
  MetricsFile file;
  file.has_torn_end = !text.empty() && !text.ends_with('\n');
  struct Known {
    Series* series = nullptr;
    int64_t line = 0;  // the last that has it
  };
  std::unordered_map<std::string, Known> known;
  Numbers numbers;
  std::string key;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    if (!read_line(line, numbers)) {
      // A torn last line is that of a program that was killed as it wrote.
      if (!(text.empty() && file.has_torn_end)) ++file.bad_lines;
      continue;
    }
    ++file.lines;
    for (const auto& [name, value] : numbers.metrics) {
      key.assign(numbers.split).append("/").append(name);
      auto& [series, last_line] = known[key];
      if (!series) series = &file.series[key];
      // The last value counts where a key stands twice in a line, as JSON's readers have it.
      if (last_line == file.lines) {
        file.not_finite -= !std::isfinite(series->values.back());
        series->values.back() = value;
      } else {
        series->steps.push_back(numbers.step);
        series->values.push_back(value);
        last_line = file.lines;
      }
      file.not_finite += !std::isfinite(value);
    }
  }
  for (auto& [name, series] : file.series) sort_by_step(series);
  return file;
}

}  // namespace engine
