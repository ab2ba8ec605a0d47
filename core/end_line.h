// Text files that say themselves where they end, so that one that was cut short is told from a whole one.
#pragma once

#include <string>

namespace engine {

// Returns a text of "#" comments and other lines between two comments, of which the first tells of the last.
std::string with_end_line(const std::string& text);
// Throws an Error for a file's text that has the first comment and not the last. Texts of people have neither.
void require_end_line(const std::string& text, const std::string& file);

}  // namespace engine
