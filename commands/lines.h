// Files of lines, and results that are written line by line.
#pragma once

#include <functional>
#include <iosfwd>
#include <string>
#include <vector>

#include "core/error.h"

namespace engine {

// Lines that are read, worked on and written together, so that a file may be larger than memory.
inline constexpr size_t lines_at_once = 256;

// work(first line number from 1, batch) for the lines of a file, up to `most` together, without their line ends. It
// shows how far it is in the file, as an Activity, unless results are printed on a terminal meanwhile. `what` is the
// work, such as "scoring", or null for one that shows itself.
void in_batches(const std::string& file, const char* what,
                const std::function<void(size_t, const std::vector<std::string>&)>& work, size_t most = lines_at_once);

// work(), its errors naming the file and line.
template <class Work>
auto at_line(const std::string& file, size_t line, const Work& work) {
  try {
    return work();
  } catch (const Error& error) {
    fail(file, ":", line, ": ", error.what());
  }
}

// Hands what was written to the system. An Error where that fails.
void flush(std::ostream& out);

// The ids of a line. An Error where they are more than `most`, which the model can `use` ("score").
std::vector<int32_t> within(std::vector<int32_t> ids, int64_t most, const char* use);

}  // namespace engine
