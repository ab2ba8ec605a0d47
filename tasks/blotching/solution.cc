#include "tasks/blotching/solution.h"

#include <algorithm>
#include <charconv>

#include "core/error.h"

namespace engine {

namespace {

constexpr std::array<int64_t, 19> powers = [] {
  std::array<int64_t, 19> result{1};
  for (size_t i = 1; i < result.size(); ++i) result[i] = 10 * result[i - 1];
  return result;
}();

int digits_of(int64_t number) {
  int digits = 1;
  while (digits < 19 && number >= powers[static_cast<size_t>(digits)]) ++digits;
  return digits;
}

// Returns the digit at a place (1: ones) with the zeros behind it.
int64_t part_at(int64_t number, int place) {
  const int64_t unit = powers[static_cast<size_t>(place - 1)];
  return number / unit % 10 * unit;
}

}  // namespace

void append_integer(int64_t value, std::string& text) {
  char digits[24];
  text.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
}

std::string Statement::label() const {
  static constexpr std::array names{"REARRANGE", "MULTIPLY", "DECOMPOSE", "SUM", "COMBINE"};
  std::string text = names[static_cast<size_t>(phase)];
  if (from) text.append(" ").append(std::to_string(from)).append("->").append(std::to_string(to));
  return text;
}

bool Solver::solve(std::string_view problem, size_t most_characters) {
  most_characters_ = most_characters;
  is_too_long_ = problem.size() > most_characters;
  if (is_too_long_) return false;
  row_.assign(problem);
  statements_.clear();
  current_.assign(problem);
  for (size_t close; (close = current_.find(')')) != std::string::npos;) {
    const size_t open = current_.rfind('(', close);
    require(open != std::string::npos, "the problem ", problem.substr(0, 80), " has a ) without a (");
    before_.assign(current_, 0, open);
    behind_.assign(current_, close + 1);
    const std::string inner = current_.substr(open + 1, close - open - 1);
    solve_flat(inner);
    if (is_too_long_) return false;
    const std::string_view last = statements_.empty() ? problem : value();
    current_.assign(last);
  }
  before_.clear();
  behind_.clear();
  const std::string whole = current_;
  solve_flat(whole);
  if (is_too_long_) return false;
  require(!statements_.empty(), "the problem ", problem.substr(0, 80), " is a number alone");
  return true;
}

void Solver::solve_flat(std::string_view text) {
  read(text);
  record(SolutionPhase::rearrange);
  multiply();
  if (is_too_long_) return;
  decompose();
  sum();
}

void Solver::read(std::string_view text) {
  products_.clear();
  for (auto& numbers : numbers_) numbers.clear();
  const char* at = text.data();
  const char* const end = at + text.size();
  Product product;
  while (true) {
    int64_t number = 0;
    const auto [rest, error] = std::from_chars(at, end, number);
    require(error == std::errc{} && *at != '-' && product.count < most_factors, "\"", text.substr(0, 80),
            "\" is no problem: numbers with + and * between them are");
    product.factors[static_cast<size_t>(product.count++)] = number;
    at = rest;
    if (at < end && *at == '*') {
      ++at;
      continue;
    }
    require(at == end || *at == '+', "\"", text.substr(0, 80), "\" is no problem: + and * are its operators");
    if (product.count == 1) {
      push(product.factors[0]);
    } else {
      std::sort(product.factors.begin(), product.factors.begin() + product.count);
      products_.push_back(product);
    }
    product.count = 0;
    if (at++ == end) break;
  }
  // They were read from the first on.
  std::reverse(products_.begin(), products_.end());
  for (auto& numbers : numbers_) std::reverse(numbers.begin(), numbers.end());
}

void Solver::push(int64_t number) { numbers_[static_cast<size_t>(digits_of(number))].push_back(number); }

void Solver::write_terms() {
  bool is_first = true;
  const auto begin_term = [&] {
    if (!is_first) statement_ += '+';
    is_first = false;
  };
  for (auto product = products_.rbegin(); product != products_.rend(); ++product) {
    begin_term();
    for (int i = 0; i < product->count; ++i) {
      if (i) statement_ += '*';
      append_integer(product->factors[static_cast<size_t>(i)], statement_);
    }
  }
  for (const auto& numbers : numbers_)
    for (auto number = numbers.rbegin(); number != numbers.rend(); ++number) {
      begin_term();
      append_integer(*number, statement_);
    }
}

void Solver::record(SolutionPhase phase, int from, int to) {
  if (is_too_long_) return;
  statement_.assign(before_);
  const bool may_enclose = !before_.empty() || !behind_.empty() || current_.ends_with(')');
  const size_t begin_of_terms = statement_.size();
  write_terms();
  const std::string_view terms = std::string_view(statement_).substr(begin_of_terms);
  if (may_enclose && terms.find_first_of("+*") != std::string_view::npos) {
    statement_.insert(begin_of_terms, 1, '(');
    statement_ += ')';
  }
  statement_ += behind_;
  const size_t last = statements_.empty() ? 0 : statements_.back().begin;
  if (std::string_view(row_).substr(last) == statement_) return;
  is_too_long_ = row_.size() + 1 + statement_.size() > most_characters_;
  if (is_too_long_) return;
  row_ += '=';
  statements_.push_back({row_.size(), row_.size() + statement_.size(), phase, from, to});
  row_ += statement_;
}

void Solver::multiply() {
  while (!products_.empty() && !is_too_long_) {
    const Product product = products_.back();
    products_.pop_back();
    const int64_t smallest = product.factors[0];
    Product rest;
    rest.count = product.count - 1;
    std::copy_n(product.factors.begin() + 1, rest.count, rest.factors.begin());
    const auto push_rest = [&] {
      if (rest.count > 1) products_.push_back(rest);
      else push(rest.factors[0]);
    };
    if (smallest == 0) push(0);
    for (int64_t i = 0; smallest <= 2 && i < smallest; ++i) push_rest();
    if (smallest > 2) {
      push_rest();
      products_.push_back(product);
      --products_.back().factors[0];
    }
    record(SolutionPhase::multiply);
  }
}

void Solver::split(size_t index, int from, int to) {
  int64_t& number = numbers_[static_cast<size_t>(from)][index];
  const int64_t part = part_at(number, to);
  number -= part;
  push(part);
  record(SolutionPhase::decompose, from, to);
}

void Solver::decompose() {
  for (int place = 1; place < most_digits; ++place) {
    size_t count = numbers_[static_cast<size_t>(place)].size();
    for (int digits = place + 1; digits < most_digits; ++digits)
      for (const int64_t number : numbers_[static_cast<size_t>(digits)]) count += part_at(number, place) != 0;
    if (count < 2) continue;
    for (int digits = place + 1; digits < most_digits; ++digits)
      for (size_t i = numbers_[static_cast<size_t>(digits)].size(); i-- > 0;)
        if (part_at(numbers_[static_cast<size_t>(digits)][i], place) != 0) split(i, digits, place);
  }
}

void Solver::sum() {
  for (int digits = 1; digits < most_digits; ++digits) {
    std::vector<int64_t>& numbers = numbers_[static_cast<size_t>(digits)];
    while (numbers.size() > 1) {
      const int64_t first = numbers.back();
      numbers.pop_back();
      const int64_t total = first + numbers.back();
      numbers.pop_back();
      push(total);
      const int digits_of_total = digits_of(total);
      record(SolutionPhase::sum, digits, digits_of_total);
      if (digits_of_total == digits || numbers.empty() || part_at(total, digits) == 0) continue;
      split(numbers_[static_cast<size_t>(digits_of_total)].size() - 1, digits_of_total, digits);
    }
    if (numbers.size() == 1) combine(digits);
  }
}

void Solver::combine(int digits) {
  for (int more = digits + 1; more < most_digits; ++more) {
    std::vector<int64_t>& numbers = numbers_[static_cast<size_t>(more)];
    if (numbers.empty()) continue;
    const int64_t total = numbers_[static_cast<size_t>(digits)].back() + numbers.back();
    numbers_[static_cast<size_t>(digits)].pop_back();
    numbers.pop_back();
    push(total);
    return record(SolutionPhase::combine, digits, digits_of(total));
  }
}

}  // namespace engine
