#include "commands/settings.h"

#include <algorithm>

namespace engine {

Settings::Settings() {
  config.declare(options);
  sections.declare(options);
}

void Settings::resolve(const std::filesystem::path& file) {
  if (!file.empty()) options.read_file(file);
  for (const Given& given : flags_) options.set(given.option, given.text, given.flag);
}

bool Settings::has_flag(const std::string& option) const {
  return std::any_of(flags_.begin(), flags_.end(), [&](const Given& given) { return given.option == option; });
}

void Settings::refuse_unread_flags() const {
  for (const Given& given : flags_) options.refuse_unread({given.option});
}

}  // namespace engine
