#include "core/options.h"

#include <utf8proc.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <sstream>

#include "core/error.h"

namespace engine {

namespace {

template <class Number>
constexpr bool is_integer = std::numeric_limits<Number>::is_integer;

// The shortest text that reads back as the same number; a float always shows that it is one, as TOML wants.
template <class Number>
std::string text_of(Number value) {
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  std::string text(buffer, end);
  if (!is_integer<Number> && text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

std::string number_text(double value) {
  if (std::abs(value) >= 0x1p63 && std::isfinite(value)) return value < 0 ? "-2^63" : "2^63 - 1";
  const double whole = std::round(value);
  if (whole == value && std::abs(value) < 1e15) return std::to_string(static_cast<int64_t>(value));
  return text_of(value);
}

std::string toml_string(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    const unsigned char byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      result += '\\';
      result += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04X", byte);
      result += escape;
    } else {
      result += c;
    }
  }
  return result + "\"";
}

bool is_utf8(const std::string& text) {
  utf8proc_int32_t code_point;
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  for (utf8proc_ssize_t i = 0, size = static_cast<utf8proc_ssize_t>(text.size()); i < size;) {
    const utf8proc_ssize_t length = utf8proc_iterate(bytes + i, size - i, &code_point);
    if (length < 1) return false;
    i += length;
  }
  return true;
}

void check_string(const std::string& text, const Range& range) {
  if (!is_utf8(text)) fail_usage("a text must be valid UTF-8");
  check_choice(text, range);
}

// Levenshtein's distance: the fewest insertions, deletions and replacements of a character.
// Names that users of transformers and nanoGPT know, and the options that do the same.
constexpr std::pair<std::string_view, std::string_view> names_elsewhere[] = {
    {"bf16", "precision"},
    {"block_size", "data.block_size"},
    {"eval_interval", "training.eval_every"},
    {"eval_steps", "training.eval_every"},
    {"fp16", "precision"},
    {"gpus", "device"},
    {"grad_clip", "training.max_grad_norm"},
    {"gradient_accumulation_steps", "training.micro_batch_size"},
    {"gradient_checkpointing", "training.recompute"},
    {"line_by_line", "mlm.lines"},
    {"logging_steps", "training.log_every"},
    {"lr", "training.learning_rate"},
    {"lr_scheduler_type", "training.scheduler"},
    {"max_iters", "training.max_steps"},
    {"max_seq_length", "data.block_size"},
    {"metric_for_best_model", "training.best_metric"},
    {"min_lr", "training.min_learning_rate"},
    {"mlm_probability", "mlm.mask_share"},
    {"model_name_or_path", "init"},
    {"n_embd", "model.hidden_size"},
    {"n_head", "model.num_heads"},
    {"n_layer", "model.num_layers"},
    {"num_epochs", "training.epochs"},
    {"num_train_epochs", "training.epochs"},
    {"per_device_train_batch_size", "training.batch_size"},
    {"resume_from_checkpoint", "resume"},
    {"save_steps", "training.save_every"},
    {"save_total_limit", "training.keep_checkpoints"},
    {"steps", "training.max_steps"},
    {"train_file", "data.train"},
    {"validation_file", "data.eval"},
    {"warmup_iters", "training.warmup_steps"},
    {"warmup_ratio", "training.warmup_steps"},
    {"wd", "training.weight_decay"}};

size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

}  // namespace

bool Range::holds(double value) const {
  return (without_least ? value > least : value >= least) && (without_most ? value < most : value <= most);
}

std::string Range::text() const {
  std::string result;
  for (size_t i = 0; i < choices.size(); ++i)
    result += (i == 0 ? "" : i + 1 < choices.size() ? ", " : " or ") + choices[i];
  if (std::isfinite(least)) result += (without_least ? "above " : "at least ") + number_text(least);
  if (std::isfinite(most)) {
    if (!result.empty()) result += " and ";
    result += (without_most ? "below " : "at most ") + number_text(most);
  }
  return result;
}

template <class Number>
Number number_of(const std::string& text, const Range& range) {
  Number value{};
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  bool fits = error == std::errc{} && stop == end && range.holds(static_cast<double>(value));
  if constexpr (!is_integer<Number>) fits = fits && std::isfinite(value);
  if constexpr (std::is_unsigned_v<Number>) fits = fits && value <= Number{std::numeric_limits<int64_t>::max()};
  Range shown = range;
  if constexpr (is_integer<Number>) {
    // The type's own limits count where the option has none.
    const bool is_beyond = error == std::errc::result_out_of_range;
    if (is_beyond || std::is_unsigned_v<Number>)
      shown.least = std::max(shown.least, static_cast<double>(std::numeric_limits<Number>::min()));
    if (is_beyond)
      shown.most = std::min(shown.most, std::is_same_v<Number, int> ? double{std::numeric_limits<int>::max()} : 0x1p63);
  }
  const std::string limits = shown.text();
  const char* const kind = is_integer<Number> ? "an integer" : "a number";
  if (!fits) fail_usage("it must be ", kind, limits.empty() ? "" : " ", limits);
  return value;
}
template int number_of(const std::string&, const Range&);
template int64_t number_of(const std::string&, const Range&);
template uint64_t number_of(const std::string&, const Range&);
template float number_of(const std::string&, const Range&);
template double number_of(const std::string&, const Range&);

void check_choice(const std::string& text, const Range& range) {
  const std::vector<std::string>& choices = range.choices;
  if (!choices.empty() && std::find(choices.begin(), choices.end(), text) == choices.end())
    fail_usage("it must be ", range.text());
}

std::string Option::section() const {
  const size_t dot = name.rfind('.');
  return dot == std::string::npos ? "" : name.substr(0, dot);
}

std::string Option::key() const { return name.substr(name.rfind('.') + 1); }

Option& Option::needs(std::function<bool()> holds, const std::string& needed) {
  need.push_back({std::move(holds), needed});
  return *this;
}

Option& Option::may_change() {
  can_change = true;
  return *this;
}

Option& Option::formerly(const std::string& former) {
  former_names.push_back(former);
  return *this;
}

Option& Options::declare(const std::string& name, const std::string& type, const Range& range,
                                  const std::string& help) {
  require(!has(name), "the option ", name, " is declared twice");
  Option& option = options_.emplace_back();
  option.name = name;
  option.type = type;
  option.range = range;
  option.help = help;
  return option;
}

template <class Number>
Option& Options::add_number(const std::string& name, Number& target, const Range& range, const std::string& help) {
  const std::string type = is_integer<Number> ? "integer" : "number";
  Option& option = declare(name, type, range, help);
  option.text = [&target] { return text_of(target); };
  option.default_text = option.text();
  option.assign = [&target, range](const std::vector<std::string>& values) {
    const std::string& text = values.at(0);
    target = number_of<Number>(text.substr(text.starts_with('+') ? 1 : 0), range);
  };
  return option;
}

Option& Options::add(const std::string& name, int& target, const Range& range, const std::string& help) {
  return add_number(name, target, range, help);
}
Option& Options::add(const std::string& name, int64_t& target, const Range& range, const std::string& help) {
  return add_number(name, target, range, help);
}
Option& Options::add(const std::string& name, uint64_t& target, const Range& range, const std::string& help) {
  return add_number(name, target, range, help);
}
Option& Options::add(const std::string& name, float& target, const Range& range, const std::string& help) {
  return add_number(name, target, range, help);
}
Option& Options::add(const std::string& name, double& target, const Range& range, const std::string& help) {
  return add_number(name, target, range, help);
}

Option& Options::add(const std::string& name, bool& target, const std::string& help) {
  Option& option = declare(name, "boolean", {}, help);
  option.text = [&target] { return std::string(target ? "true" : "false"); };
  option.default_text = option.text();
  option.assign = [&target](const std::vector<std::string>& values) {
    if (values.at(0) != "true" && values.at(0) != "false") fail_usage("it must be true or false");
    target = values.at(0) == "true";
  };
  return option;
}

Option& Options::add(const std::string& name, std::string& target, const Range& range, const std::string& help) {
  Option& option = declare(name, "string", range, help);
  option.text = [&target] { return toml_string(target); };
  option.default_text = option.text();
  option.assign = [&target, range](const std::vector<std::string>& values) {
    check_string(values.at(0), range);
    target = values.at(0);
  };
  return option;
}

Option& Options::add(const std::string& name, std::vector<std::string>& target, const std::string& help) {
  Option& option = declare(name, "list", {}, help);
  option.text = [&target] {
    std::string text;
    for (const std::string& element : target) text += (text.empty() ? "" : ", ") + toml_string(element);
    return "[" + text + "]";
  };
  option.default_text = option.text();
  option.assign = [&target](const std::vector<std::string>& values) {
    for (const std::string& value : values) check_string(value, {});
    target = values;
  };
  return option;
}

void Options::set(const std::string& name, const std::string& text, const std::string& where) {
  Option* const option = find_to_set(name);
  if (!option) fail_usage(where, ": there is no option ", name, "; the nearest is ", nearest(name));
  std::vector<std::string> values{text};
  if (option->type == "list") {
    values.clear();
    std::istringstream stream(text);
    for (std::string element; std::getline(stream, element, ',');)
      if (!element.empty()) values.push_back(element);
  }
  set_values(name, values, where + ": " + name + " is \"" + text + "\"");
}

void Options::set_values(const std::string& name, const std::vector<std::string>& values, const std::string& what) {
  Option* const option = find_to_set(name);
  require(option, "there is no option ", name);
  try {
    option->assign(values);
  } catch (const UsageError& error) {
    fail_usage(what, ": ", error.what());
  }
  option->set = true;
  option->said = what;
}

const Option* Options::find(const std::string& name) const {
  const auto has_name = [&](const Option& option) {
    const std::vector<std::string>& former = option.former_names;
    return option.name == name || std::find(former.begin(), former.end(), name) != former.end();
  };
  const auto found = std::find_if(options_.begin(), options_.end(), has_name);
  return found == options_.end() ? nullptr : &*found;
}

Option& Options::at(const std::string& name) {
  Option* const option = find_to_set(name);
  require(option, "there is no option ", name);
  return *option;
}

Option* Options::find_to_set(const std::string& name) { return const_cast<Option*>(find(name)); }

bool Options::has(const std::string& name) const { return find(name) != nullptr; }

bool Options::was_set(const std::string& name) const {
  const Option* const option = find(name);
  return option && option->set;
}

void Options::refuse_unread(const std::vector<std::string>& names) const {
  for (const Option& option : options_) {
    const bool is_meant = names.empty() || std::find(names.begin(), names.end(), option.name) != names.end();
    if (!is_meant || !option.is_changed()) continue;
    for (const Need& need : option.need)
      if (!need.holds()) fail_usage(option.said, ": nothing reads it here, it needs ", need.text);
  }
}

std::vector<std::string> Options::names() const {
  std::vector<std::string> result;
  for (const Option& option : options_) result.push_back(option.name);
  return result;
}

std::vector<std::string> Options::sections() const {
  std::vector<std::string> result{""};
  for (const Option& option : options_)
    if (std::find(result.begin(), result.end(), option.section()) == result.end()) result.push_back(option.section());
  return result;
}

std::string Options::nearest(const std::string& name) const { return nearest_name(name, names()); }

std::string nearest_name(const std::string& whole_name, const std::vector<std::string>& names) {
  const std::string name = whole_name.substr(0, 100);  // no known name is longer
  const std::string_view own = std::string_view(name).substr(name.rfind('.') + 1);
  for (const auto& [theirs, ours] : names_elsewhere)
    if (own == theirs && std::find(names.begin(), names.end(), ours) != names.end()) return std::string(ours);
  std::string best;
  size_t least = std::numeric_limits<size_t>::max();
  const bool without_section = name.find('.') == std::string::npos;
  for (const std::string& known : names) {
    size_t distance = edit_distance(name, known);
    if (without_section) distance = std::min(distance, edit_distance(name, known.substr(known.rfind('.') + 1)));
    if (distance >= least) continue;
    least = distance;
    best = known;
  }
  return best;
}

}  // namespace engine
