#include "commands/flags.h"

#include <algorithm>
#include <cstdio>

#include "commands/settings.h"
#include "core/error.h"

namespace engine {

namespace {

bool is_flag(const std::string& argument) { return argument.starts_with("--"); }

std::string name_in(const std::string& argument) { return argument.substr(0, argument.find('=')); }

}  // namespace

Flags::Flags(const std::string& verb, const std::string& help, const std::string& example)
    : verb_(verb), help_(help), example_(example) {}

Flags::Flag& Flags::declare(const std::string& name, const std::string& type, const std::string& help,
                            const FlagRule& rule) {
  require(!find(name), "the flag ", name, " is declared twice");
  Flag& flag = flags_.emplace_back();
  flag.name = name;
  flag.type = type;
  flag.help = help;
  flag.rule = rule;
  return flag;
}

void Flags::add(const std::string& name, std::string& target, const std::string& help, const FlagRule& rule) {
  declare(name, "TEXT", help, rule).assign = [&target, rule](const std::vector<std::string>& values) {
    check_choice(values[0], rule.range);
    target = values[0];
  };
}

void Flags::add(const std::string& name, std::vector<std::string>& target, const std::string& help,
                const FlagRule& rule) {
  Flag& flag = declare(name, "TEXT ...", help, rule);
  flag.values = Values::several;
  flag.assign = [&target](const std::vector<std::string>& values) { target = values; };
}

template <class Number>
void Flags::add_number(const std::string& name, Number& target, const std::string& help, const FlagRule& rule) {
  declare(name, "INTEGER", help, rule).assign = [&target, rule](const std::vector<std::string>& values) {
    target = number_of<Number>(values[0], rule.range);
  };
}

void Flags::add(const std::string& name, int& target, const std::string& help, const FlagRule& rule) {
  add_number(name, target, help, rule);
}
void Flags::add(const std::string& name, int64_t& target, const std::string& help, const FlagRule& rule) {
  add_number(name, target, help, rule);
}
void Flags::add(const std::string& name, size_t& target, const std::string& help, const FlagRule& rule) {
  add_number(name, target, help, rule);
}

void Flags::add(const std::string& name, bool& target, const std::string& help, const FlagRule& rule) {
  Flag& flag = declare(name, "", help, rule);
  flag.values = Values::none;
  flag.assign = [&target](const std::vector<std::string>&) { target = true; };
}

void Flags::add_options(Settings& settings, const std::vector<std::string>& read,
                        const std::vector<std::string>& shown) {
  const auto is_among = [](const std::string& name, const std::vector<std::string>& names) {
    return std::any_of(names.begin(), names.end(), [&](const std::string& one) {
      return one.ends_with('.') ? name.starts_with(one) : name == one;
    });
  };
  for (const Option& option : settings.options.all()) {
    if (!read.empty() && !is_among(option.name, read)) continue;
    const bool has_short = std::any_of(flags_.begin(), flags_.end(),
                                       [&](const Flag& flag) { return flag.option == option.name; });
    add_short(settings, "--" + option.name, option.name, option.help);
    Flag& flag = flags_.back();
    flag.type = option.type + " [" + option.default_text + "]";
    flag.section = option.section();
    flag.hidden = has_short || (read.empty() && !flag.section.empty() && !is_among(option.name, shown));
    for (const std::string& former : option.former_names) add_short(settings, "--" + former, option.name, "");
  }
  options_ = &settings.options;
  reads_all_ = read.empty();
}

void Flags::add_short(Settings& settings, const std::string& name, const std::string& option,
                      const std::string& help) {
  const Option* const meant = settings.options.find(option);
  require(meant, "there is no option ", option);
  const bool is_list = meant->type == "list";
  Flag& flag = declare(name, meant->type, help, {});
  flag.values = is_list ? Values::several : Values::one;
  flag.option = option;
  // The values of a list are one text on the command line, "a,b".
  flag.assign = [&settings, option, name](const std::vector<std::string>& values) {
    std::string text;
    for (const std::string& value : values) text += (text.empty() ? "" : ",") + value;
    settings.add_flag(option, text, name);
  };
}

Flags::Flag* Flags::find(const std::string& name) {
  const auto found = std::find_if(flags_.begin(), flags_.end(), [&](const Flag& flag) { return flag.name == name; });
  return found == flags_.end() ? nullptr : &*found;
}

bool Flags::given(const std::string& name) const { return const_cast<Flags*>(this)->known(name).is_given; }

Flags::Flag& Flags::known(const std::string& name) {
  if (Flag* const flag = find(name)) return *flag;
  if (options_ && options_->has(name.substr(2)))
    fail_usage(name, ": ", verb_, " does not read this option: leave it out");
  std::vector<std::string> names;
  for (const Flag& flag : flags_)
    if (is_flag(flag.name) && !flag.help.empty()) names.push_back(flag.name.substr(2));
  names.push_back("help");
  fail_usage("there is no flag ", name, "; the nearest is --", nearest_name(name.substr(2), names));
}

// The arguments that are neither flags nor the first value of one, without those that the verb requires. So many of
// them are further values of lists.
size_t Flags::surplus_of(const std::vector<std::string>& arguments) {
  size_t free = 0, required = 0;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (!is_flag(arguments[i])) ++free;
    else if (known(name_in(arguments[i])).values != Values::none && arguments[i].find('=') == std::string::npos) ++i;
  }
  for (const Flag& flag : flags_) required += !is_flag(flag.name) && flag.rule.required;
  return free > required ? free - required : 0;
}

// Takes the flag at `at` with its values. Returns where the next argument is.
size_t Flags::take_flag(const std::vector<std::string>& arguments, size_t at, size_t& surplus) {
  const std::string name = name_in(arguments[at]);
  const size_t equals = arguments[at].find('=');
  Flag& flag = known(name);
  if (flag.is_given && flag.values != Values::several) fail_usage(name, " is given twice");
  flag.is_given = true;
  if (equals != std::string::npos) {
    if (flag.values == Values::none) fail_usage(name, " takes no value");
    flag.given.push_back(arguments[at].substr(equals + 1));
    return at + 1;
  }
  if (flag.values == Values::none) return at + 1;
  if (at + 1 == arguments.size() || is_flag(arguments[at + 1]))
    fail_usage(name, " needs a value behind it; one that begins with -- is written ", name, "=--VALUE");
  flag.given.push_back(arguments[at + 1]);
  size_t next = at + 2;
  if (flag.values != Values::several) return next;
  for (; next < arguments.size() && !is_flag(arguments[next]) && surplus > 0; ++next, --surplus)
    flag.given.push_back(arguments[next]);
  return next;
}

// Gives the free arguments to the declared ones, in their order.
void Flags::take_arguments(const std::vector<std::string>& free) {
  size_t taken = 0;
  for (Flag& flag : flags_) {
    if (is_flag(flag.name) || taken == free.size()) continue;
    do flag.given.push_back(free[taken++]);
    while (flag.values == Values::several && taken < free.size());
    flag.is_given = true;
  }
  if (taken < free.size()) fail_usage("unexpected argument ", free[taken]);
}

void Flags::check() const {
  for (const Flag& flag : flags_) {
    if (flag.rule.required && !flag.is_given)
      fail_usage(verb_, " needs ", flag.name, ", ", flag.help, "; engine ", verb_, " --help says more");
    if (!flag.is_given) continue;
    if (!flag.rule.needs.empty() && !given(flag.rule.needs)) fail_usage(flag.name, " needs ", flag.rule.needs);
    for (const std::string& other : flag.rule.excludes)
      if (given(other)) fail_usage(flag.name, " and ", other, " exclude each other");
  }
}

bool Flags::read(const std::vector<std::string>& arguments) {
  for (const std::string& argument : arguments)
    if (argument == "--help" || argument == "-h" || argument == "--help-all") {
      print_help(argument == "--help-all");
      return false;
    }
  size_t surplus = surplus_of(arguments);
  std::vector<std::string> free;
  for (size_t i = 0; i < arguments.size();) {
    if (is_flag(arguments[i])) i = take_flag(arguments, i, surplus);
    else free.push_back(arguments[i++]);
  }
  take_arguments(free);
  check();
  for (const Flag& flag : flags_) {
    if (!flag.is_given) continue;
    try {
      flag.assign(flag.given);
    } catch (const UsageError& error) {
      fail_usage(flag.name, " is \"", flag.given[0], "\": ", error.what());
    }
  }
  return true;
}

void Flags::print_help(bool all) const {
  const auto is_shown = [&](const Flag& flag) { return all ? !flag.help.empty() : !flag.hidden && !flag.help.empty(); };
  std::string usage = "Usage: engine " + verb_;
  for (const Flag& flag : flags_)
    if (flag.rule.required)
      usage += " " + flag.name + (is_flag(flag.name) ? " " + flag.type : flag.values == Values::several ? " ..." : "");
  for (const Flag& flag : flags_)
    if (!is_flag(flag.name) && !flag.rule.required) usage += " [" + flag.name + "]";
  std::printf("engine %s: %s\n%s [--FLAG VALUE ...]\nExample: %s\n", verb_.c_str(), help_.c_str(), usage.c_str(),
              example_.c_str());
  std::vector<std::string> sections;
  bool hides = false;
  for (const Flag& flag : flags_) {
    hides = hides || (flag.hidden && !all);
    if (is_shown(flag) && std::find(sections.begin(), sections.end(), flag.section) == sections.end())
      sections.push_back(flag.section);
  }
  if (std::find(sections.begin(), sections.end(), "") == sections.end()) sections.insert(sections.begin(), "");
  for (const std::string& section : sections) {
    std::printf("\n%s\n", section.empty() ? "Flags:" : ("[" + section + "]:").c_str());
    if (section.empty()) std::printf("  %-34s this help%s\n", "--help", hides ? "; --help-all: every flag" : "");
    for (const Flag& flag : flags_) {
      if (flag.section != section || !is_shown(flag)) continue;
      const std::string left = flag.name + (flag.type.empty() ? "" : " " + flag.type);
      std::printf(left.size() <= 34 ? "  %-34s %s\n" : "  %s\n                                     %s\n", left.c_str(),
                  flag.help.c_str());
    }
  }
  if (reads_all_ && hides)
    std::printf("\nEvery option of a task.cfg is a flag: engine %s --help-all lists them, engine options SECTION "
                "explains them.\n", verb_.c_str());
}

}  // namespace engine
