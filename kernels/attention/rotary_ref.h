// The specification of kernels/attention/rotary.h in plain loops.
#pragma once

#include <cmath>
#include <cstddef>
#include <vector>

namespace engine::reference {

template <class T>
struct Rotary {
  size_t cols = 0, begin = 0;  // of the matrix, and where its heads begin
  size_t heads = 1, head_width = 0, dims = 0;
  T base = 10000;
  std::vector<int> positions;  // of each row

  // Turns the rows of x by `sign` times their angles.
  void turn(std::vector<T>& x, T sign = 1) const {
    for (size_t row = 0; row < positions.size(); ++row)
      for (size_t head = 0; head < heads; ++head)
        for (size_t i = 0; i < dims / 2; ++i) {
          const T frequency = std::pow(base, -T(2 * i) / T(dims)), angle = sign * T(positions[row]) * frequency;
          T& first = x[row * cols + begin + head * head_width + i];
          T& second = x[row * cols + begin + head * head_width + dims / 2 + i];
          const T a = first, b = second;
          first = a * std::cos(angle) - b * std::sin(angle);
          second = b * std::cos(angle) + a * std::sin(angle);
        }
  }
};

}  // namespace engine::reference
