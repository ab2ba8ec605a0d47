// The specification of kernels/rows/segment_mean.h in plain loops.
#pragma once

#include <cstddef>
#include <vector>

namespace engine::reference {

// y[s] = the mean of the rows begin[s] ... end[s]-1 of x [.., cols].
template <class T>
std::vector<T> segment_mean_forward(const std::vector<T>& x, size_t cols, const std::vector<int>& begin,
                                    const std::vector<int>& end) {
  std::vector<T> y;
  for (size_t s = 0; s < begin.size(); ++s)
    for (size_t c = 0; c < cols; ++c) {
      double total = 0;
      for (int n = begin[s]; n < end[s]; ++n) total += static_cast<double>(x[static_cast<size_t>(n) * cols + c]);
      y.push_back(end[s] > begin[s] ? static_cast<T>(total / (end[s] - begin[s])) : T(0));
    }
  return y;
}

}  // namespace engine::reference
