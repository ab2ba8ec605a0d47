// options: explains the options of a task.cfg, all of a section or one of them.
#include <algorithm>
#include <iostream>

#include "commands/settings.h"
#include "commands/verb.h"

namespace engine {

namespace {

void print(const Option& option) {
  std::cout << option.name << "  (" << option.type << ", default " << option.default_text;
  if (const std::string limits = option.range.text(); !limits.empty()) std::cout << ", " << limits;
  std::cout << ")\n    " << option.help << '\n';
  for (const Need& need : option.need) std::cout << "    It needs " << need.text << ".\n";
  if (option.can_change) std::cout << "    It may change when a run is resumed.\n";
}

class OptionsVerb final : public Verb {
 public:
  void add_flags(Flags& flags) override {
    flags.add("SECTION", name_, "a section such as training, or an option such as training.learning_rate");
  }

  int run(Communicator&) override {
    const Settings settings;
    const Options& options = settings.options;
    std::vector<std::string> sections = options.sections();
    if (const Option* const one = options.find(name_)) return print(*one), 0;
    if (std::find(sections.begin(), sections.end(), name_) == sections.end()) {
      std::vector<std::string> names = options.names();
      names.insert(names.end(), sections.begin() + 1, sections.end());
      fail_usage("there is no section or option ", name_, "; the nearest is ", nearest_name(name_, names));
    }
    for (const Option& option : options.all())
      if (option.section() == name_) print(option);
    if (!name_.empty()) return 0;
    std::cout << "\nSections:";
    for (size_t i = 1; i < sections.size(); ++i) std::cout << (i > 1 ? ", " : " ") << sections[i];
    std::cout << "\nengine options SECTION explains the options of one, and docs/options.md all of them.\n\nTasks:\n";
    for (const TaskRow& row : task_table()) std::cout << "  " << row.name << ": " << row.help << '\n';
    return 0;
  }

 private:
  std::string name_;
};

}  // namespace

std::unique_ptr<Verb> make_options_verb() { return std::make_unique<OptionsVerb>(); }

}  // namespace engine
