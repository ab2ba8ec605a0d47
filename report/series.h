// Series become curves: smoothed, averaged over runs, and then thinned for the page.
#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include "report/metrics_file.h"

namespace engine {

// The weights of the past in the smoothings that the page offers. page.js has the same.
inline constexpr std::array<double, 3> smoothing_weights{0.8, 0.95, 0.99};

// The exponential moving average of values v_t with weight w of the past, free of the bias towards its beginning:
//   s_t = w s_(t-1) + (1 - w) v_t,   result_t = s_t / (1 - w^t).
// Values that are not finite are passed over, and NaN in the result.
std::vector<double> smoothed(const std::vector<double>& values, double weight);

// A curve has at each step a value and perhaps a band around it.
struct Band {
  std::vector<double> steps, values;
  std::vector<double> low, high;  // empty: the values themselves
};

// The mean of several series at every step that any of them has, over those that have it and a finite value there. The
// band goes from the least of them to the largest.
Band mean_of(const std::vector<const Series*>& runs);

// A curve of few points. Each stands for a piece of the series: its last step, the mean of its values, the least and
// the largest of its band, and each smoothing at its last step. NaN where no value of the piece is finite.
struct Curve {
  std::vector<double> steps, means, low, high;
  std::array<std::vector<double>, smoothing_weights.size()> smooth;
  bool is_thinned = false;  // else the points are those of the series, and low, high and smooth are empty
  bool has_band = false;    // low and high say more than the means
};

// Smooths all values first, so that a smoothed curve does not depend on how many points are left. The first and the
// last step stay.
Curve thinned(const Band& band, size_t most_points);

}  // namespace engine
