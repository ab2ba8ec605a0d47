// Reads a run's metrics.jsonl into one series a metric. Files may be torn, of older or other programs, and long: a line
// is read without a tree of its values.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace engine {

inline constexpr double nan_value = std::numeric_limits<double>::quiet_NaN();

// The values of a metric, NaN where one was not finite. Steps do not fall.
struct Series {
  std::vector<double> steps, values;
};

struct MetricsFile {
  std::map<std::string, Series> series;  // by "train/loss", split and name
  int64_t lines = 0;
  int64_t bad_lines = 0;   // that are no object with a step
  bool has_torn_end = false;  // the last line has no end
  int64_t not_finite = 0;     // values
};

// Reads a text of such lines. A line is an object with a number "step" and perhaps a string "split" (train where it
// lacks one). Every other number of it is a metric; null, NaN and Infinity are values that were not finite. Members of
// other types are passed over, and so are lines that are no such object, which are counted.
MetricsFile parse_metrics(std::string_view text);

}  // namespace engine
