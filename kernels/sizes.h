// Sizes in whole units.
#pragma once

#include <cstdint>

namespace engine {

inline constexpr int64_t ceil_div(int64_t size, int64_t unit) { return (size + unit - 1) / unit; }
inline constexpr int64_t rounded_up(int64_t size, int64_t unit) { return ceil_div(size, unit) * unit; }

}  // namespace engine
