// Options from and to text: the reader of TOML files, the resolved configuration and the reference for docs/.

#include <algorithm>
#include <deque>
#include <sstream>

#include "core/listing.h"
#include "core/options.h"
#include "core/toml.h"

namespace engine {

namespace {

template <class Node>
std::string toml_text(const Node& node) {
  std::ostringstream text;
  text << node;
  return text.str();
}

// A node as the option's assign takes it. Empty where its type is not the option's.
std::vector<std::string> values_of(const toml::node& node, const std::string& type) {
  if (const auto* text = node.as_string(); text && (type == "string" || type == "list")) return {text->get()};
  if (const auto* flag = node.as_boolean(); flag && type == "boolean") return {flag->get() ? "true" : "false"};
  if (const auto* integer = node.as_integer(); integer && (type == "integer" || type == "number"))
    return {std::to_string(integer->get())};
  if (const auto* number = node.as_floating_point(); number && type == "number") return {toml_text(*number)};
  return {};
}

std::string type_text(const std::string& type) {
  if (type == "integer") return "an integer";
  if (type == "list") return "a string or a list of strings";
  return type == "boolean" ? "true or false" : "a " + type;
}

class Reader {
 public:
  Reader(Options& options, std::string source) : options_(options), source_(std::move(source)) {}

  void read(const toml::table& table, const std::string& prefix) {
    for (const auto& [key, node] : table) {
      const std::string name = prefix + std::string(key.str());
      const std::string where = source_ + ":" + std::to_string(key.source().begin.line);
      if (options_.has(name)) {
        assign(name, node, source_ + ":" + std::to_string(node.source().begin.line));
      } else if (const auto* inner = node.as_table(); inner && (!inner->empty() || has_section(name))) {
        read(*inner, name + ".");
      } else if (inner) {
        fail_usage(where, ": there is no section [", name, "]; the nearest is [", nearest_section(name), "]");
      } else {
        fail_usage(where, ": there is no option ", name, "; the nearest is ", options_.nearest(name));
      }
    }
  }

 private:
  bool has_section(const std::string& name) const {
    return std::any_of(options_.all().begin(), options_.all().end(),
                       [&](const Option& option) { return option.name.starts_with(name + "."); });
  }

  std::string nearest_section(const std::string& name) const {
    Options sections;
    std::deque<bool> targets;
    for (const std::string& section : options_.sections())
      if (!section.empty()) sections.add(section, targets.emplace_back(), "");
    return sections.nearest(name);
  }

  void assign(const std::string& name, const toml::node& node, const std::string& where) {
    const Option* const option = options_.find(name);
    const toml::array* list = option->type == "list" ? node.as_array() : nullptr;
    std::vector<std::string> values;
    bool fits = list != nullptr;
    if (list) {
      for (const toml::node& element : *list) {
        const std::vector<std::string> value = values_of(element, "string");
        if (value.empty()) fits = false;
        values.insert(values.end(), value.begin(), value.end());
      }
    } else {
      values = values_of(node, option->type);
      fits = !values.empty();
    }
    std::string shown;
    node.visit([&](const auto& value) { shown = toml_text(value); });
    if (!fits) fail_usage(where, ": ", name, " is ", shown, ": it must be ", type_text(option->type));
    options_.set_values(name, values, where + ": " + name + " is " + shown);
  }

  Options& options_;
  std::string source_;
};

}  // namespace

void Options::read_file(const std::filesystem::path& file) {
  read_text(read_toml_text(file, "a configuration is a TOML file such as configs/arithmetic.cfg"), file.string());
}

void Options::read_text(const std::string& text, const std::string& source) {
  Reader(*this, source).read(parse_toml(text, source), "");
}

std::string Options::toml() const {
  std::string result;
  for (const std::string& section : sections()) {
    if (!section.empty()) result += "\n[" + section + "]\n";
    for (const Option& option : options_)
      if (option.section() == section) result += option.key() + " = " + option.text() + "\n";
  }
  return result;
}

std::string Options::markdown() const {
  std::string result;
  for (const std::string& section : sections()) {
    result += section.empty() ? "## Top level\n\n" : "\n## [" + section + "]\n\n";
    result += "| option | type | default | allowed | on resuming | meaning |\n|---|---|---|---|---|---|\n";
    for (const Option& option : options_) {
      if (option.section() != section) continue;
      std::string meaning = option.help;
      for (const Need& need : option.need) meaning += "; needs " + need.text;
      result += "| `" + option.key() + "` | " + option.type + " | `" + table_cell(option.default_text) + "` | " +
                table_cell(option.range.text()) + " | " + (option.can_change ? "may change" : "stays") + " | " +
                table_cell(meaning) + " |\n";
    }
  }
  return result;
}

}  // namespace engine
