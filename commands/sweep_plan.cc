#include "commands/sweep_plan.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"
#include "core/random.h"

namespace engine {

namespace {

constexpr size_t most_points = 100000;

// Six digits tell values of a search apart, and are read easily.
std::string number_text(double value) {
  char digits[40];
  const auto end = std::to_chars(digits, digits + sizeof digits, value, std::chars_format::general, 6).ptr;
  return {digits, end};
}

std::string range_text(SearchSpace::Kind kind, double low, double high, double share) {
  if (kind == SearchSpace::Kind::log_uniform) return number_text(low * std::pow(high / low, share));
  return number_text(low + (high - low) * share);
}

}  // namespace

std::string SearchSpace::at(double share) const {
  if (kind == Kind::list) return values[static_cast<size_t>(share * static_cast<double>(values.size()))];
  if (kind == Kind::integers)
    return std::to_string(static_cast<int64_t>(std::floor(low + (high - low + 1) * share)));
  return range_text(kind, low, high, share);
}

int64_t SearchSpace::integers_in_range() const {
  return static_cast<int64_t>(std::floor(high)) - static_cast<int64_t>(std::ceil(low)) + 1;
}

int64_t SearchSpace::grid_size() const {
  if (kind == Kind::list) return static_cast<int64_t>(values.size());
  if (kind != Kind::integers) return count;
  return count ? std::min(count, integers_in_range()) : integers_in_range();
}

std::vector<std::string> SearchSpace::grid() const {
  if (kind == Kind::list) return values;
  std::vector<std::string> result;
  if (kind == Kind::integers) {
    const auto first = static_cast<int64_t>(std::ceil(low));
    const int64_t steps = integers_in_range() - 1, gaps = grid_size() - 1;
    // Whole parts and rests apart, since the product of both numbers may have more than 64 bits.
    for (int64_t i = 0; i <= gaps; ++i)
      result.push_back(std::to_string(
          gaps == 0 ? first : first + i * (steps / gaps) + (i * (steps % gaps) + gaps / 2) / gaps));
    return result;
  }
  for (int64_t i = 0; i < count; ++i)
    result.push_back(range_text(kind, low, high, static_cast<double>(i) / static_cast<double>(count - 1)));
  return result;
}

std::vector<SweepPoint> SweepPlan::points() const {
  std::vector<SweepPoint> result;
  if (method != "grid") {
    for (int64_t trial = 0; trial < trials; ++trial) {
      Random random(seed, static_cast<uint64_t>(trial));
      SweepPoint& point = result.emplace_back();
      for (const SearchSpace& space : spaces)
        point.emplace_back(space.option, space.at(static_cast<double>(random.uniform())));
    }
    return result;
  }
  result.emplace_back();
  for (const SearchSpace& space : spaces) {
    if (space.grid_size() > static_cast<int64_t>(most_points / result.size()))
      fail_usage("the grid has more than ", most_points, " points: take fewer values, or method \"random\"");
    const std::vector<std::string> values = space.grid();
    std::vector<SweepPoint> wider;
    for (const SweepPoint& point : result)
      for (const std::string& value : values) {
        wider.push_back(point);
        wider.back().emplace_back(space.option, value);
      }
    result = std::move(wider);
  }
  return result;
}

std::vector<int64_t> SweepPlan::rungs() const {
  if (method != "halving") return {0};
  std::vector<int64_t> steps;
  for (int64_t rung = min_steps; rung < max_steps; rung *= factor) {
    steps.push_back(rung);
    if (rung > max_steps / factor) break;
  }
  steps.push_back(max_steps);
  return steps;
}

std::string SweepPlan::text() const {
  std::string text = "task " + task + " " + hexadecimal(hash_of(read_text(task))) + "\nmethod " + method + "\nmetric " +
                     metric + "\n";
  for (const std::string& one : seeds) text.append("seed ").append(one).append("\n");
  if (method == "halving")
    for (const int64_t rung : rungs()) text.append("rung ").append(std::to_string(rung)).append("\n");
  if (method == "halving") text.append("factor ").append(std::to_string(factor)).append("\n");
  for (const auto& [option, value] : set) text.append("set ").append(option).append(" = ").append(value).append("\n");
  for (const SweepPoint& point : points()) {
    text += "point";
    for (const auto& [option, value] : point) text.append(" ").append(option).append(" = ").append(value);
    text += "\n";
  }
  return text;
}

}  // namespace engine
