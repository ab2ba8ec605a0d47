// Options: each is declared once (name, target, range, help, what it needs, whether a resumed run may change it). From
// the declarations come the reader of task.cfg (TOML), the command line, --help, the reference in docs/, the resolved
// configuration that a run saves, and the checks of options that nothing reads and of runs that go on.
//
//   options.add("training.batch_size", config.batch_size, at_least(1), "sequences an optimizer step, over all ranks");
//   options.add("mlm.copies", copies, at_least(1), "copies of the data with masks of their own")
//       .needs([this] { return masking == "static"; }, "mlm.masking = \"static\"");
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

// The values that an option may have. The defaults allow everything.
struct Range {
  double least = -std::numeric_limits<double>::infinity();
  double most = std::numeric_limits<double>::infinity();
  bool without_least = false, without_most = false;  // the end itself is not allowed
  std::vector<std::string> choices;                  // a string's

  bool holds(double value) const;
  std::string text() const;  // "at least 1", empty where everything is allowed
};
inline Range any_value() { return {}; }
inline Range at_least(double least) { return {.least = least}; }
inline Range above(double least) { return {.least = least, .without_least = true}; }
inline Range between(double least, double most) { return {.least = least, .most = most}; }
inline Range from_up_to_below(double least, double most) {
  return {.least = least, .most = most, .without_most = true};
}
inline Range one_of(std::vector<std::string> choices) { return {.choices = std::move(choices)}; }

// Reads a number of a type that Options::add takes. Throws a UsageError that says what would be right where the text is
// no such number, or out of range. An unsigned one is at most 2^63 - 1.
template <class Number>
Number number_of(const std::string& text, const Range& range);
// Throws a UsageError that lists the choices where there are some and the text is none of them.
void check_choice(const std::string& text, const Range& range);

// A condition without which nothing reads an option.
struct Need {
  std::function<bool()> holds;
  std::string text;  // "mlm.masking = \"static\""
};

struct Option {
  std::string name, type, default_text, help;
  Range range;
  std::function<std::string()> text;  // the present value as TOML
  // Takes a value's text (each element's of a list). Throws a UsageError that says what would be right.
  std::function<void(const std::vector<std::string>& values)> assign;
  bool set = false;
  std::string said;           // "task.cfg:3: seed is 5"
  std::vector<Need> need;     // all must hold
  bool can_change = false;    // when a run is resumed
  std::vector<std::string> former_names;

  // Each adds to the declaration and returns the option, so that an option stays one statement.
  Option& needs(std::function<bool()> holds, const std::string& needed);
  Option& may_change();
  // A name that files of older versions have. It is read as this option's.
  Option& formerly(const std::string& former);

  // Whether it is set to something else than its default. A resolved configuration sets every option.
  bool is_changed() const { return set && text() != default_text; }
  std::string section() const;  // "training" of "training.batch_size"
  std::string key() const;      // "batch_size"
};

class Options {
 public:
  using Option = engine::Option;

  // Targets live as long as the Options. The reference is valid until the next option is added.
  Option& add(const std::string& name, bool& target, const std::string& help);
  Option& add(const std::string& name, int& target, const Range& range, const std::string& help);
  Option& add(const std::string& name, int64_t& target, const Range& range, const std::string& help);
  // Allows values up to 2^63 - 1.
  Option& add(const std::string& name, uint64_t& target, const Range& range, const std::string& help);
  Option& add(const std::string& name, float& target, const Range& range, const std::string& help);
  Option& add(const std::string& name, double& target, const Range& range, const std::string& help);
  Option& add(const std::string& name, std::string& target, const Range& range, const std::string& help);
  // A string or a list of strings in the file, "a,b" on the command line.
  Option& add(const std::string& name, std::vector<std::string>& target, const std::string& help);

  // Reads a TOML file. An unknown key, a wrong type or a value out of range is a UsageError with file, line and, for a
  // key, the nearest known name.
  void read_file(const std::filesystem::path& file);
  void read_text(const std::string& text, const std::string& source);
  // Sets one option from text, as --name text does. An error names the option and the value's origin.
  void set(const std::string& name, const std::string& text, const std::string& where);
  // The same from values that are apart already. `what` begins an error: "task.cfg:3: seed is -1".
  void set_values(const std::string& name, const std::vector<std::string>& values, const std::string& what);
  bool has(const std::string& name) const;
  bool was_set(const std::string& name) const;  // in a file or by set()
  // A UsageError for an option that is changed although nothing reads it, since whoever set it thinks that it does
  // something. `names` are the options to check, by their names. All are checked where it is empty.
  void refuse_unread(const std::vector<std::string>& names = {}) const;

  std::string toml() const;       // every option with its present value, readable by read_file
  std::string markdown() const;   // the reference: a table a section
  std::vector<std::string> names() const;
  std::vector<std::string> sections() const;  // "" first, in the order of their declaration
  // The known name with the least edit distance. "batch_size" is near to "training.batch_size".
  std::string nearest(const std::string& name) const;
  // The option of this name, present or former. Null where there is none.
  const Option* find(const std::string& name) const;
  // An option that is declared already, to add to its declaration.
  Option& at(const std::string& name);
  const std::vector<Option>& all() const { return options_; }

 private:
  template <class Number>
  Option& add_number(const std::string& name, Number& target, const Range& range, const std::string& help);
  Option& declare(const std::string& name, const std::string& type, const Range& range, const std::string& help);
  Option* find_to_set(const std::string& name);

  std::vector<Option> options_;
};

// The one of `names` with the least edit distance to `name`. A name without a dot is compared with their last parts,
// too.
std::string nearest_name(const std::string& name, const std::vector<std::string>& names);

}  // namespace engine
