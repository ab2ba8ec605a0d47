// Flags: the command line of one verb. CLI11 stands behind this header alone, since it takes long to compile.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/options.h"

namespace engine {

class Settings;

// What the command line must say of a flag.
struct FlagRule {
  bool required = false;
  Range range;                        // what its value must be
  std::string needs;                  // another flag that must be given with it
  std::vector<std::string> excludes;  // flags that must not be given with it
};

class Flags {
 public:
  // `verb` and `help` begin the verb's own help.
  Flags(const std::string& verb, const std::string& help);
  ~Flags();

  // "--name" is a flag with a value, "NAME" an argument. A bool is a flag without a value.
  void add(const std::string& name, std::string& target, const std::string& help, const FlagRule& rule = {});
  void add(const std::string& name, std::vector<std::string>& target, const std::string& help,
           const FlagRule& rule = {});
  void add(const std::string& name, int& target, const std::string& help, const FlagRule& rule = {});
  void add(const std::string& name, int64_t& target, const std::string& help, const FlagRule& rule = {});
  void add(const std::string& name, size_t& target, const std::string& help, const FlagRule& rule = {});
  void add(const std::string& name, bool& target, const std::string& help, const FlagRule& rule = {});
  // Options of a task.cfg as flags, "--training.learning_rate 1e-4". Each of `read` is a name or a section
  // ("generation."). All options are flags where it is empty.
  void add_options(Settings& settings, const std::vector<std::string>& read = {});
  // An option of a task.cfg under a shorter name: "--temperature" for "generation.temperature".
  void add_short(Settings& settings, const std::string& flag, const std::string& option);

  // Reads the command line behind the verb. Returns false after printing the help that it asks for. Throws a UsageError
  // that names what is wrong, with the nearest flag where one is unknown.
  bool read(int argc, char** argv);
  bool given(const std::string& name) const;

 private:
  template <class Value>
  void add_value(const std::string& name, Value& target, const std::string& help, const FlagRule& rule);

  struct Parser;
  std::unique_ptr<Parser> parser_;
};

}  // namespace engine
