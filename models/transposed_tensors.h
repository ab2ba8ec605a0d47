// Copies between matrices of a file and their transposes, which parameters hold.
#pragma once

#include <cstdint>
#include <string>

#include "core/bf16.h"

namespace engine {

// A piece of so many rows of a transpose is worth a task of its own.
inline constexpr int64_t transposed_grain = 256;

// Writes the rows begin ... end-1 of `to` [cols, rows], the transpose of the stored matrix [rows, cols], as f32 or
// rounded to bf16.
template <class T>
void load_transposed(const char* from, int64_t rows, int64_t cols, const std::string& dtype, int64_t begin, int64_t end,
                     T* to);

// Writes the rows begin ... end-1 of the transpose of `from` [rows, cols] in dtype. Returns false where F16 cannot hold
// a value.
[[nodiscard]] bool store_transposed(const float* from, int64_t rows, int64_t cols, const std::string& dtype,
                                    int64_t begin, int64_t end, char* to);

}  // namespace engine
