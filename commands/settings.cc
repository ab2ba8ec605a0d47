#include "commands/settings.h"

namespace engine {

Settings::Settings() {
  config.declare(options);
  sections.declare(options);
}

void Settings::resolve(const std::filesystem::path& file) {
  if (!file.empty()) options.read_file(file);
  for (const auto& [name, text] : flags_) options.set(name, text, "--" + name);
}

}  // namespace engine
