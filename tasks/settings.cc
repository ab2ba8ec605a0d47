#include "tasks/settings.h"

#include <CLI/CLI.hpp>

#include <algorithm>

#include "core/error.h"

namespace engine {

Settings::Settings() {
  config.declare(options);
  sections.declare(options);
}

void Settings::add_flags(CLI::App& verb, const std::vector<std::string>& read) {
  const auto is_read = [&](const std::string& name) {
    const auto names = [&](const std::string& one) { return one.ends_with('.') ? name.starts_with(one) : name == one; };
    return read.empty() || std::any_of(read.begin(), read.end(), names);
  };
  for (const Options::Option& option : options.all()) {
    if (!is_read(option.name)) continue;
    const std::string section = option.section();
    verb.add_option_function<std::string>(
            "--" + option.name,
            [this, name = option.name](const std::string& text) { flags_.emplace_back(name, text); }, option.help)
        ->type_name(option.type + " [" + option.default_text + "]")
        ->group(section.empty() ? "General" : section);
  }
  verb.allow_extras();  // refuse_extras says more of them
}

void Settings::add_short_flag(CLI::App& verb, const std::string& flag, const std::string& name,
                              const std::string& help) {
  verb.add_option_function<std::string>(
      flag, [this, name](const std::string& text) { flags_.emplace_back(name, text); }, help);
}

void Settings::resolve(const std::filesystem::path& file) {
  if (!file.empty()) options.read_file(file);
  for (const auto& [name, text] : flags_) options.set(name, text, "--" + name);
}

void refuse_extras(const CLI::App& verb, const Options& options) {
  std::vector<std::string> known;
  for (const CLI::Option* option : verb.get_options())
    if (!option->get_lnames().empty()) known.push_back(option->get_lnames()[0]);
  const std::vector<std::string> extras = verb.remaining();
  for (const std::string& extra : extras) {
    if (!extra.starts_with("--")) continue;
    const std::string flag = extra.substr(2, extra.find('=') - 2);
    if (options.has(flag)) fail_usage("--", flag, ": ", verb.get_name(), " does not read this option: leave it out");
    fail_usage("there is no flag --", flag, "; the nearest is --", nearest_name(flag, known));
  }
  if (!extras.empty()) fail_usage("unexpected argument ", extras[0]);
}

}  // namespace engine
