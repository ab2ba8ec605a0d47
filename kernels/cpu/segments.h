// Operations over segments check these on the CPU.
#pragma once

#include "kernels/checks.h"

namespace engine {

// Throws an Error where a segment does not lie inside the rows 0 ... rows-1.
inline void check_segments(const char* operation, const Segments& segments, int64_t rows) {
  const int32_t *begin = segments.begin.as<int32_t>(), *end = segments.end.as<int32_t>();
  for (int64_t s = 0; s < segments.count(); ++s)
    require(0 <= begin[s] && begin[s] <= end[s] && end[s] <= rows, operation, ": segment ", s, " has the rows ",
            begin[s], " to ", end[s], " of ", rows);
}

}  // namespace engine
