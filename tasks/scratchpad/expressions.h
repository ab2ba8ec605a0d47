// Arithmetic expressions: fully parenthesised binary trees over + - * with the leaves 0 ... 9.
//   input   of a leaf its digit, of a node "(L op R)" of its children's inputs;
//   oracle  of a leaf its digit, of a node "(L op R = value)" of its children's oracles: every step written out.
// The level of a tree is its nesting of parentheses; a leaf has level 0.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/random.h"

namespace engine {

struct Expression {
  char op = 0;  // + - *; 0: a leaf
  std::shared_ptr<const Expression> left, right;
  int64_t value = 0;
  int level = 0;

  std::string input() const;
  std::string oracle() const;
  // The same cut right after the root's "=": what is given where only the last step is asked for. A leaf has nothing.
  std::string oracle_without_value() const;
};
using ExpressionPointer = std::shared_ptr<const Expression>;

ExpressionPointer make_leaf(int digit);
ExpressionPointer make_node(char op, ExpressionPointer left, ExpressionPointer right);

// Which trees there are. A tree breaks a limit where any of its nodes does.
struct ExpressionLimits {
  int max_answer_length = 3;    // digits of a node's value, the sign not counted
  int max_total_length = 88;    // characters of the oracle
  int max_sequence_length = 0;  // characters of input and oracle together; 0: any
  int held_out = 16;            // see ExpressionSource
};

// The expressions of training and of evaluation. Levels 0 and 1 are the same in both. Of level 2 every held_out-th (by
// a hash of its input) belongs to evaluation, the others to training. Deeper trees are made of their own split's lower
// levels, at least one side from the level just below: so no expression of evaluation above level 1 is ever trained on.
class ExpressionSource {
 public:
  enum class Split { training, evaluation };

  explicit ExpressionSource(const ExpressionLimits& limits);

  // Levels up to 2: uniform over all expressions of the level and split. Above: operator and side uniform, the other
  // side's level uniform among the lower ones. An Error if nothing within the limits is found.
  ExpressionPointer draw(Random& random, int level, Split split) const;
  // `quantity` different ones, fewer only where a level up to 2 has no more (then all of them, in a fixed order).
  // An Error if there are none.
  std::vector<ExpressionPointer> sample(uint64_t seed, int level, Split split, size_t quantity) const;
  // All of level 0, 1 or 2, in a fixed order.
  std::vector<ExpressionPointer> all(int level, Split split) const;

  bool within_limits(const Expression& expression) const;
  bool is_held_out(const Expression& level_2) const;

 private:
  [[noreturn]] void fail_nothing_of(int level) const;
  ExpressionPointer combine(Random& random, int level, Split split) const;

  ExpressionLimits limits_;
  std::vector<ExpressionPointer> leaves_, level_1_;
};

}  // namespace engine
