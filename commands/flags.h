// Flags: the command line of one verb, read and explained.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/options.h"

namespace engine {

class Settings;

// The rules that the command line must obey for a flag.
struct FlagRule {
  bool required = false;
  Range range;                        // its allowed values
  std::string needs;                  // another flag that must be given with it
  std::vector<std::string> excludes;  // flags that must not be given with it
};

class Flags {
 public:
  // `verb` and `help` begin the verb's own help. `example` is a command line that stands in it.
  Flags(const std::string& verb, const std::string& help, const std::string& example);

  // "--name" is a flag with a value, "NAME" an argument. A list takes several values; as an argument
  // it takes all those behind the others. A bool is a flag without a value.
  void add(const std::string& name, std::string& target, const std::string& help, const FlagRule& rule = {});
  void add(const std::string& name, std::vector<std::string>& target, const std::string& help,
           const FlagRule& rule = {});
  void add(const std::string& name, int& target, const std::string& help, const FlagRule& rule = {});
  void add(const std::string& name, int64_t& target, const std::string& help, const FlagRule& rule = {});
  void add(const std::string& name, size_t& target, const std::string& help, const FlagRule& rule = {});
  void add(const std::string& name, bool& target, const std::string& help, const FlagRule& rule = {});
  // Options of a task.cfg as flags, "--training.learning_rate 1e-4". Each of `read` is a name or a section
  // ("generation."). All options are flags where it is empty, and help shows those without a section and those in
  // `shown` alone, until --help-all asks for the others. It also leaves out those that have a shorter name.
  void add_options(Settings& settings, const std::vector<std::string>& read = {},
                   const std::vector<std::string>& shown = {});
  // An option of a task.cfg under a shorter name: "--temperature" for "generation.temperature". Empty help hides it.
  void add_short(Settings& settings, const std::string& flag, const std::string& option, const std::string& help);

  // Reads the arguments behind the verb. Returns false after printing the help that they ask for. Throws a UsageError
  // that names what is wrong, with the nearest flag where one is unknown.
  bool read(const std::vector<std::string>& arguments);
  bool given(const std::string& name) const;

 private:
  enum class Values { none, one, several };
  struct Flag {
    std::string name, type, help;
    std::string option, section;  // of a task.cfg
    Values values = Values::one;
    bool hidden = false;  // in a help that is not --help-all
    FlagRule rule;
    std::function<void(const std::vector<std::string>&)> assign;
    std::vector<std::string> given;
    bool is_given = false;
  };

  Flag& declare(const std::string& name, const std::string& type, const std::string& help, const FlagRule& rule);
  template <class Number>
  void add_number(const std::string& name, Number& target, const std::string& help, const FlagRule& rule);
  Flag* find(const std::string& name);
  Flag& known(const std::string& name);
  size_t take_flag(const std::vector<std::string>& arguments, size_t at, size_t& surplus);
  size_t surplus_of(const std::vector<std::string>& arguments);
  void take_arguments(const std::vector<std::string>& free);
  void check() const;
  void print_help(bool all) const;

  std::string verb_, help_, example_;
  std::vector<Flag> flags_;
  const Options* options_ = nullptr;  // a task.cfg's, of which the verb may read only some
  bool reads_all_ = false;
};

}  // namespace engine
