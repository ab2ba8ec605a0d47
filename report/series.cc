#include "report/series.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace engine {

namespace {

struct Sum {
  double sum = 0, low = INFINITY, high = -INFINITY;
  size_t count = 0;

  void add(double value, double least, double most) {
    if (!std::isfinite(value)) return;
    sum += value;
    low = std::min(low, least);
    high = std::max(high, most);
    ++count;
  }
  double mean() const { return count ? sum / static_cast<double>(count) : nan_value; }
};

}  // namespace

std::vector<double> smoothed(const std::vector<double>& values, double weight) {
  std::vector<double> result;
  result.reserve(values.size());
  double sum = 0, share = 0;  // share is 1 - w^t
  for (const double value : values) {
    if (std::isfinite(value)) {
      sum = weight * sum + (1 - weight) * value;
      share = weight * share + (1 - weight);
    }
    result.push_back(std::isfinite(value) ? sum / share : nan_value);
  }
  return result;
}

Band mean_of(const std::vector<const Series*>& runs) {
  std::map<double, Sum> sums;
  for (const Series* run : runs)
    for (size_t i = 0; i < run->steps.size(); ++i)
      sums[run->steps[i]].add(run->values[i], run->values[i], run->values[i]);
  Band band;
  for (const auto& [step, sum] : sums) {
    band.steps.push_back(step);
    band.values.push_back(sum.mean());
    band.low.push_back(sum.count ? sum.low : nan_value);
    band.high.push_back(sum.count ? sum.high : nan_value);
  }
  return band;
}

Curve thinned(const Band& band, size_t most_points) {
  const size_t count = band.steps.size();
  const std::vector<double>& low = band.low.empty() ? band.values : band.low;
  const std::vector<double>& high = band.high.empty() ? band.values : band.high;
  Curve curve;
  curve.has_band = !band.low.empty();
  if (count <= std::max<size_t>(most_points, 2)) {
    curve.steps = band.steps;
    curve.means = band.values;
    if (curve.has_band) {
      curve.low = band.low;
      curve.high = band.high;
    }
    return curve;
  }
  curve.is_thinned = curve.has_band = true;
  std::array<std::vector<double>, smoothing_weights.size()> smooth;
  for (size_t level = 0; level < smooth.size(); ++level)
    smooth[level] = smoothed(band.values, smoothing_weights[level]);
  // The first piece is the first point alone.
  const size_t pieces = std::max<size_t>(most_points, 2) - 1;
  size_t begin = 0;
  for (size_t piece = 0; piece <= pieces; ++piece) {
    const size_t end = 1 + piece * (count - 1) / pieces;
    Sum sum;
    for (size_t i = begin; i < end; ++i) sum.add(band.values[i], low[i], high[i]);
    curve.steps.push_back(band.steps[end - 1]);
    curve.means.push_back(sum.mean());
    curve.low.push_back(sum.count ? sum.low : nan_value);
    curve.high.push_back(sum.count ? sum.high : nan_value);
    for (size_t level = 0; level < smooth.size(); ++level) curve.smooth[level].push_back(smooth[level][end - 1]);
    begin = end;
  }
  return curve;
}

}  // namespace engine
