// The solution of a problem, step by step: statements "3*12+70=12+12+12+70=..." up to its value. A statement is a sum
// of products and, behind them, numbers by their digits, fewest first. Operations make the next one, if it differs:
//   rearrange   the products come first, the factors of each ascending, then the numbers by their digits
//   multiply    the first product k*x with the smallest factor k: 0 becomes 0, 1 and 2 as many x, others (k-1)*x + x;
//               x is a number, or a product itself; until none is left
//   decompose   for m = 1, 2, ...: digits at place m are split off (123 at 1: 3 and 120) where otherwise more than one
//               number had such a digit
//   sum         for m = 1, 2, ...: the first two numbers of m digits are added until one is left; a sum that has one
//               digit more gives up its digit at m while others wait
//   combine     that one is added to the first number of the next more digits
// New numbers come first among those of as many digits. A problem with parentheses is solved by recursion: the first
// innermost one is solved as a problem of its own, each of its statements written in its place, until a number stands
// there without parentheses.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace engine {

enum class SolutionPhase { rearrange, multiply, decompose, sum, combine };

struct Statement {
  size_t begin = 0, end = 0;  // in the row's text
  SolutionPhase phase = SolutionPhase::rearrange;
  int from = 0, to = 0;       // digits, of decompose, sum and combine

  std::string label() const;  // "SUM 1->2"
};

// Appends the decimal digits of the value.
void append_integer(int64_t value, std::string& text);

// A solver keeps its memory from problem to problem.
class Solver {
 public:
  // Returns whether the row has at most so many characters; one that grows beyond them is given up. Throws an Error
  // where the text is no problem.
  bool solve(std::string_view problem, size_t most_characters = std::numeric_limits<size_t>::max());

  // Returns "problem=statement=...=value".
  const std::string& row() const { return row_; }
  const std::vector<Statement>& statements() const { return statements_; }
  std::string_view value() const { return std::string_view(row_).substr(statements_.back().begin); }

 private:
  static constexpr int most_digits = 19, most_factors = 16;
  struct Product {
    int count = 0;
    std::array<int64_t, most_factors> factors;  // ascending
  };

  void solve_flat(std::string_view text);
  void read(std::string_view text);
  void multiply();
  void decompose();
  void sum();
  void combine(int digits);
  void split(size_t index, int from, int to);
  void push(int64_t number);
  void record(SolutionPhase phase, int from = 0, int to = 0);
  void write_terms();

  size_t most_characters_ = 0;
  bool is_too_long_ = false;
  std::string row_, before_, behind_, statement_, current_;
  std::vector<Statement> statements_;
  // The last one comes first in a statement.
  std::vector<Product> products_;
  std::array<std::vector<int64_t>, most_digits + 1> numbers_;  // by their digits
};

}  // namespace engine
