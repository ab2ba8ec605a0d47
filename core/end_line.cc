#include "core/end_line.h"

#include "core/error.h"

namespace engine {

namespace {

const std::string begin_line = "# Written by engine. A line \"# end\" is the last.\n", end_line = "# end\n";

}  // namespace

std::string with_end_line(const std::string& text) { return begin_line + text + end_line; }

void require_end_line(const std::string& text, const std::string& file) {
  if (!text.starts_with(begin_line)) return;
  const bool has_end = text.find("\n" + end_line) != std::string::npos || text.ends_with("\n# end");
  if (!has_end) fail(file, ": is cut short: its last line, \"# end\", is missing");
}

}  // namespace engine
