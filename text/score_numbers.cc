#include "text/score_numbers.h"

#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace engine {

using nlohmann::json;

namespace {

constexpr int most_exponent = 308;
constexpr int most_steps = 4;  // that decimals are looked for on each side of a number

double power_of_ten(int exponent) {
  static const std::vector<double> powers = [] {
    std::vector<double> made;
    for (int i = 0; i <= most_exponent; ++i) {
      const std::string text = "1e" + std::to_string(i);
      double power = 0;
      std::from_chars(text.data(), text.data() + text.size(), power);
      made.push_back(power);
    }
    return made;
  }();
  return powers[static_cast<size_t>(exponent)];
}

std::optional<double> scaled(uint64_t digits, int64_t exponent) {
  auto number = static_cast<double>(digits);
  for (; exponent < -most_exponent; exponent += most_exponent) {
    if (number == 0) return number;
    number /= power_of_ten(most_exponent);
  }
  if (exponent > most_exponent) return number == 0 ? std::optional(number) : std::nullopt;
  const double power = power_of_ten(static_cast<int>(std::abs(exponent)));
  number = exponent >= 0 ? number * power : number / power;
  return std::isfinite(number) ? std::optional(number) : std::nullopt;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Writes whole / 10^fraction.
std::string decimal_of(bool is_negative, uint64_t whole, int fraction) {
  std::string digits = std::to_string(whole);
  const auto wanted = static_cast<size_t>(fraction) + 1;
  if (digits.size() < wanted) digits = std::string(wanted - digits.size(), '0') + digits;
  std::string text = is_negative ? "-" : "";
  text.append(digits, 0, digits.size() - static_cast<size_t>(fraction));
  text.push_back('.');
  return text.append(digits, digits.size() - static_cast<size_t>(fraction));
}

// Collects the numbers of model.vocab.
class Decimals final : public json::json_sax_t {
 public:
  std::vector<std::string> found;

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t& text) override {
    if (lists_ > 0) found.push_back(text);
    return true;
  }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(size_t) override { return ++depth_, true; }
  bool end_object() override { return --depth_, true; }
  bool key(string_t& name) override {
    if (depth_ == 1) in_model_ = name == "model";
    if (depth_ == 2) in_vocabulary_ = in_model_ && name == "vocab";
    return true;
  }
  bool start_array(size_t) override {
    lists_ += in_vocabulary_ && depth_ == 2;
    return true;
  }
  bool end_array() override {
    lists_ -= in_vocabulary_ && depth_ == 2;
    return true;
  }
  bool parse_error(size_t, const std::string&, const json::exception&) override { return false; }

 private:
  int depth_ = 0, lists_ = 0;
  bool in_model_ = false, in_vocabulary_ = false;
};

}  // namespace

std::optional<double> read_score(std::string_view decimal) {
  size_t place = decimal.starts_with('-');
  const bool is_negative = place > 0;
  uint64_t digits = 0;
  int64_t exponent = 0;
  bool is_full = false, in_fraction = false;
  for (; place < decimal.size() && (is_digit(decimal[place]) || decimal[place] == '.'); ++place) {
    if (decimal[place] == '.') {
      in_fraction = true;
      continue;
    }
    const auto digit = static_cast<uint64_t>(decimal[place] - '0');
    is_full = is_full || digits > (UINT64_MAX - digit) / 10;
    if (!is_full) digits = 10 * digits + digit;
    exponent += is_full ? !in_fraction : -static_cast<int64_t>(in_fraction);
  }
  if (place < decimal.size()) {
    ++place;  // e
    place += place < decimal.size() && decimal[place] == '+';
    int more = 0;
    if (std::from_chars(decimal.data() + place, decimal.data() + decimal.size(), more).ec != std::errc())
      more = decimal[place] == '-' ? -most_exponent * 4 : most_exponent * 4;
    exponent += more;
  }
  const std::optional<double> size = scaled(digits, exponent);
  return size && is_negative ? -*size : size;
}

std::string write_score(double score) {
  char buffer[64];
  std::string shortest(buffer, std::to_chars(buffer, buffer + sizeof buffer, score).ptr);
  if (shortest.find_first_of(".e") == std::string::npos) shortest.append(".0");
  const std::optional<double> read = read_score(shortest);
  if (read == score) return shortest;
  // Some decimals close to the number are read as it. A whole number that is a double is not rounded, so that
  // the decimal is read exactly.
  for (int fraction = 19; fraction >= 12; --fraction) {
    const double middle = std::round(std::abs(score) * power_of_ten(fraction));
    if (middle >= 1.8e19 || middle < 1e6) continue;
    for (const double direction : {0.0, 2e19}) {
      double whole = middle;
      for (int step = 0; step < most_steps; ++step, whole = std::nextafter(whole, direction)) {
        const std::string text = decimal_of(score < 0, static_cast<uint64_t>(whole), fraction);
        if (read_score(text) == score) return text;
      }
    }
  }
  // A few numbers are never read. Then the one that is read instead is written.
  return read ? write_score(*read) : shortest;
}

std::vector<std::string> vocabulary_decimals(std::string_view tokenizer_json) {
  Decimals decimals;
  json::sax_parse(tokenizer_json, &decimals);
  return decimals.found;
}

}  // namespace engine
