#include "commands/flags.h"

#include <CLI/CLI.hpp>

#include <algorithm>

#include "commands/settings.h"
#include "core/error.h"

namespace engine {

struct Flags::Parser {
  CLI::App app;
  std::vector<std::string> known;       // flags, without their dashes
  const Options* options = nullptr;     // those of a task.cfg, of which the verb may read only some
};

namespace {

void apply(CLI::Option& option, CLI::App& app, const FlagRule& rule) {
  option.required(rule.required);
  if (!rule.range.choices.empty()) option.check(CLI::IsMember(rule.range.choices));
  const std::string right = rule.range.choices.empty() ? rule.range.text() : "";
  if (!right.empty())
    option.check([range = rule.range, right](const std::string& text) {
      char* end = nullptr;
      const double value = std::strtod(text.c_str(), &end);
      return *end == '\0' && range.holds(value) ? std::string() : text + ": it must be " + right;
    });
  if (!rule.needs.empty()) option.needs(app.get_option(rule.needs));
  for (const std::string& other : rule.excludes) option.excludes(app.get_option(other));
}

}  // namespace

Flags::Flags(const std::string& verb, const std::string& help) : parser_(std::make_unique<Parser>()) {
  parser_->app.name("engine " + verb);
  parser_->app.description(help);
  parser_->app.allow_extras();  // read() says more of them
}

Flags::~Flags() = default;

template <class Value>
void Flags::add_value(const std::string& name, Value& target, const std::string& help, const FlagRule& rule) {
  apply(*parser_->app.add_option(name, target, help), parser_->app, rule);
}

void Flags::add(const std::string& name, std::string& target, const std::string& help, const FlagRule& rule) {
  add_value(name, target, help, rule);
}
void Flags::add(const std::string& name, std::vector<std::string>& target, const std::string& help,
                const FlagRule& rule) {
  add_value(name, target, help, rule);
}
void Flags::add(const std::string& name, int& target, const std::string& help, const FlagRule& rule) {
  add_value(name, target, help, rule);
}
void Flags::add(const std::string& name, int64_t& target, const std::string& help, const FlagRule& rule) {
  add_value(name, target, help, rule);
}
void Flags::add(const std::string& name, size_t& target, const std::string& help, const FlagRule& rule) {
  add_value(name, target, help, rule);
}
void Flags::add(const std::string& name, bool& target, const std::string& help, const FlagRule& rule) {
  apply(*parser_->app.add_flag(name, target, help), parser_->app, rule);
}

void Flags::add_options(Settings& settings, const std::vector<std::string>& read) {
  const auto is_read = [&](const std::string& name) {
    const auto names = [&](const std::string& one) { return one.ends_with('.') ? name.starts_with(one) : name == one; };
    return read.empty() || std::any_of(read.begin(), read.end(), names);
  };
  for (const Options::Option& option : settings.options.all()) {
    if (!is_read(option.name)) continue;
    const std::string section = option.section();
    parser_->app
        .add_option_function<std::string>(
            "--" + option.name,
            [&settings, name = option.name](const std::string& text) { settings.add_flag(name, text); }, option.help)
        ->type_name(option.type + " [" + option.default_text + "]")
        ->group(section.empty() ? "General" : section);
  }
  parser_->options = &settings.options;
}

void Flags::add_short(Settings& settings, const std::string& flag, const std::string& option) {
  parser_->app.add_option_function<std::string>(
      flag, [&settings, option](const std::string& text) { settings.add_flag(option, text); }, "as " + option);
}

bool Flags::given(const std::string& name) const { return parser_->app.count(name) > 0; }

bool Flags::read(int argc, char** argv) {
  CLI::App& app = parser_->app;
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const bool asks_for_help = error.get_exit_code() == 0;
    if (!asks_for_help) fail_usage(error.what());
    app.exit(error);
    return false;
  }
  std::vector<std::string> known;
  for (const CLI::Option* option : app.get_options())
    if (!option->get_lnames().empty()) known.push_back(option->get_lnames()[0]);
  const std::vector<std::string> extras = app.remaining();
  const std::string verb = app.get_name().substr(app.get_name().find(' ') + 1);
  for (const std::string& extra : extras) {
    if (!extra.starts_with("--")) continue;
    const std::string flag = extra.substr(2, extra.find('=') - 2);
    if (parser_->options && parser_->options->has(flag))
      fail_usage("--", flag, ": ", verb, " does not read this option: leave it out");
    fail_usage("there is no flag --", flag, "; the nearest is --", nearest_name(flag, known));
  }
  if (!extras.empty()) fail_usage("unexpected argument ", extras[0]);
  return true;
}

}  // namespace engine
