// The specification of kernels/rows/embedding.h in plain loops.
#pragma once

#include <vector>

#include "core/random.h"

namespace engine::reference {

template <class T>
struct Embedding {
  // A table of the sum, and the row of it that each token takes.
  struct Table {
    std::vector<int> index;
    std::vector<T> values, gradient;  // gradient: +=
    double scale = 1;                 // 1 but for tokens
  };
  size_t cols = 0;
  std::vector<Table> tables;
  Dropout dropout;
  std::vector<T> y, dy;

  T dropped(T value, size_t element) const {
    if (dropout.rate == 0) return value;
    const int64_t index = dropout.first_row * static_cast<int64_t>(cols) + static_cast<int64_t>(element);
    return dropout.drops(index) ? T(0) : static_cast<T>(value * static_cast<T>(dropout.scale()));
  }

  void forward() {
    const size_t tokens = tables[0].index.size();
    y.assign(tokens * cols, 0);
    for (size_t n = 0; n < tokens; ++n)
      for (size_t c = 0; c < cols; ++c) {
        double total = 0;
        for (const Table& table : tables)
          total += table.scale * table.values[static_cast<size_t>(table.index[n]) * cols + c];
        y[n * cols + c] = dropped(static_cast<T>(total), n * cols + c);
      }
  }

  void backward() {
    for (Table& table : tables)
      for (size_t n = 0; n < table.index.size(); ++n)
        for (size_t c = 0; c < cols; ++c)
          table.gradient[static_cast<size_t>(table.index[n]) * cols + c] +=
              static_cast<T>(table.scale) * dropped(dy[n * cols + c], n * cols + c);
  }
};

}  // namespace engine::reference
