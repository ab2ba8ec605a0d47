#include "models/transposed_tensors.h"

#include <algorithm>
#include <atomic>

#include "core/parallel.h"
#include "core/safetensors.h"

namespace engine {

namespace {

// A matrix is transposed by tiles: rows of one side are read and rows of the other written, some cache lines at a time.
constexpr int64_t tile_rows = 16, tile_cols = transposed_grain;

}  // namespace

template <class T>
void load_transposed(const char* from, int64_t rows, int64_t cols, const std::string& dtype, int64_t begin, int64_t end,
                     T* to) {
  const int64_t element = static_cast<int64_t>(safetensors_size_of(dtype));
  float tile[tile_rows][tile_cols];
  for (int64_t col = begin; col < end; col += tile_cols) {
    const int64_t width = std::min(tile_cols, end - col);
    for (int64_t row = 0; row < rows; row += tile_rows) {
      const int64_t height = std::min(tile_rows, rows - row);
      for (int64_t i = 0; i < height; ++i)
        load_floats(from + ((row + i) * cols + col) * element, static_cast<size_t>(width), dtype, tile[i]);
      for (int64_t j = 0; j < width; ++j)
        for (int64_t i = 0; i < height; ++i) to[(col + j) * rows + row + i] = T(tile[i][j]);
    }
  }
}
template void load_transposed(const char*, int64_t, int64_t, const std::string&, int64_t, int64_t, float*);
template void load_transposed(const char*, int64_t, int64_t, const std::string&, int64_t, int64_t, bf16*);

bool store_transposed(const float* from, int64_t rows, int64_t cols, const std::string& dtype, int64_t begin,
                      int64_t end, char* to) {
  const int64_t element = static_cast<int64_t>(safetensors_size_of(dtype));
  std::atomic<bool> good = true;
  parallel_chunks(end - begin, tile_rows, [&](int64_t first, int64_t last) {
    float tile[tile_rows][tile_cols];
    for (int64_t row = 0; row < rows; row += tile_cols) {
      const int64_t width = std::min(tile_cols, rows - row);
      for (int64_t i = 0; i < width; ++i)
        for (int64_t j = first; j < last; ++j) tile[j - first][i] = from[(row + i) * cols + begin + j];
      for (int64_t j = first; j < last; ++j)
        if (!try_store_floats(tile[j - first], static_cast<size_t>(width), dtype, to + (j * rows + row) * element))
          good = false;
    }
  });
  return good;
}

}  // namespace engine
