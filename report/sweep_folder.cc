#include "report/sweep_folder.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/files.h"

namespace engine {

using Json = nlohmann::ordered_json;

SweepNotes read_notes(const SweepFolder& folder) {
  SweepNotes notes;
  std::error_code ignored;
  if (std::filesystem::exists(folder.summary(), ignored))
    notes.summary = Json::parse(read_text(folder.summary()), nullptr, /*allow_exceptions=*/false);
  if (!std::filesystem::exists(folder.results(), ignored)) return notes;
  const std::string lines = read_text(folder.results());
  for (size_t begin = 0; begin < lines.size();) {
    const size_t end = std::min(lines.find('\n', begin), lines.size());
    Json trial = Json::parse(lines.begin() + static_cast<ptrdiff_t>(begin), lines.begin() + static_cast<ptrdiff_t>(end),
                             nullptr, /*allow_exceptions=*/false);
    if (trial.is_object()) notes.trials.push_back(std::move(trial));
    begin = end + 1;
  }
  return notes;
}

}  // namespace engine
