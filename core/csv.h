// Reads files of comma-separated values (RFC 4180): fields that are quoted may hold commas, line ends and doubled
// quotes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace engine {

// Gives each row of a text with the number of the line at which it begins. Lines without a character are passed over.
// A quote in a field that is not quoted, or one that is never closed, is an Error with the file and the line.
void read_csv(std::string_view text, const std::string& file,
              const std::function<void(int64_t line, const std::vector<std::string>& fields)>& row);

// Returns a field as a row of such a file has it, quoted where it must be.
std::string csv_field(std::string_view text);

}  // namespace engine
