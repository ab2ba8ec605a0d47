// Options: each is declared once (name, target, range, help). From the declarations come the reader of task.cfg (TOML),
// the command line, --help, the reference in docs/ and the resolved configuration that a run saves.
//
//   options.add("training.batch_size", config.batch_size, at_least(1), "sequences an optimizer step, over all ranks");
//
// The target's value at the time of declaration is the default. A name without a dot is a top-level key.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace engine {

// What a value must be; the defaults allow everything.
struct Range {
  double least = -std::numeric_limits<double>::infinity();
  double most = std::numeric_limits<double>::infinity();
  bool without_least = false, without_most = false;  // the end itself is not allowed
  std::vector<std::string> choices;                  // of a string

  bool holds(double value) const;
  std::string text() const;  // "at least 1"; empty where everything is allowed
};
inline Range any_value() { return {}; }
inline Range at_least(double least) { return {.least = least}; }
inline Range above(double least) { return {.least = least, .without_least = true}; }
inline Range between(double least, double most) { return {.least = least, .most = most}; }
inline Range from_up_to_below(double least, double most) {
  return {.least = least, .most = most, .without_most = true};
}
inline Range one_of(std::vector<std::string> choices) { return {.choices = std::move(choices)}; }

class Options {
 public:
  // Targets live as long as the Options.
  void add(const std::string& name, bool& target, const std::string& help);
  void add(const std::string& name, int& target, const Range& range, const std::string& help);
  void add(const std::string& name, int64_t& target, const Range& range, const std::string& help);
  void add(const std::string& name, uint64_t& target, const Range& range, const std::string& help);  // up to 2^63 - 1
  void add(const std::string& name, float& target, const Range& range, const std::string& help);
  void add(const std::string& name, double& target, const Range& range, const std::string& help);
  void add(const std::string& name, std::string& target, const Range& range, const std::string& help);
  // A string or a list of strings in the file; "a,b" on the command line.
  void add(const std::string& name, std::vector<std::string>& target, const std::string& help);

  // Reads a TOML file. An unknown key, a wrong type or a value out of range is a UsageError with file, line and, for a
  // key, the nearest known name.
  void read_file(const std::filesystem::path& file);
  void read_text(const std::string& text, const std::string& source);
  // Sets one option from text, as --name text does. The error names the option and where the value came from.
  void set(const std::string& name, const std::string& text, const std::string& where);
  // The same from values that are apart already; `what` begins the error: "task.cfg:3: seed is -1".
  void set_values(const std::string& name, const std::vector<std::string>& values, const std::string& what);
  bool has(const std::string& name) const;
  bool was_set(const std::string& name) const;  // by a file or by set()

  std::string toml() const;       // every option with its present value, readable by read_file
  std::string markdown() const;   // the reference: a table a section
  std::vector<std::string> names() const;
  // The known name with the least edit distance; "batch_size" is near to "training.batch_size".
  std::string nearest(const std::string& name) const;

  struct Option {
    std::string name, type, default_text, help;
    Range range;
    std::function<std::string()> text;  // the present value as TOML
    // Takes a value's text (of a list, each element's); throws UsageError with what would be right.
    std::function<void(const std::vector<std::string>& values)> assign;
    bool set = false;
    std::string said;  // where and to what it was set: "task.cfg:3: seed is 5"

    // Set to something else than its default: a resolved configuration sets every option.
    bool is_changed() const { return set && text() != default_text; }
    std::string section() const;  // "training" of "training.batch_size"
    std::string key() const;      // "batch_size"
  };
  const std::vector<Option>& all() const { return options_; }

 private:
  template <class Number>
  void add_number(const std::string& name, Number& target, const Range& range, const std::string& help);
  Option& declare(const std::string& name, const std::string& type, const Range& range, const std::string& help);
  Option* find(const std::string& name);

  std::vector<Option> options_;
};

// The one of `names` with the least edit distance to `name`; one without a dot is compared with their last parts, too.
std::string nearest_name(const std::string& name, const std::vector<std::string>& names);

}  // namespace engine
