#include "commands/settings.h"

namespace engine {

Settings::Settings() {
  config.declare(options);
  sections.declare(options);
}

void Settings::resolve(const std::filesystem::path& file) {
  if (!file.empty()) options.read_file(file);
  for (const Given& given : flags_) options.set(given.option, given.text, given.flag);
}

void Settings::refuse_unread_flags() const {
  for (const Given& given : flags_) options.refuse_unread({given.option});
}

}  // namespace engine
