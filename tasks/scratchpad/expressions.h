// Arithmetic expressions are fully parenthesised binary trees over + - * with the leaves 0 ... 9.
//   input   of a leaf its digit, of a node "(L op R)" of its children's inputs;
//   oracle  of a leaf its digit, of a node "(L op R = value)" of its children's oracles: every step written out.
// The level of a tree is its nesting of parentheses. A leaf has level 0. Form says which parts of a tree are written
// beside the values.
#pragma once

#include <array>
#include <charconv>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "core/random.h"

namespace engine {

// The scratchpad of ((1+2)*3) in each form.
enum class Form {
  equations,   // ((1+2=3)*3=9)
  results,     // ((+=3)*=9): without the digits of the input
  parentheses  // ((=3)=9): without its operators, too
};

struct Expression {
  char op = 0;  // + - *, 0 for a leaf
  const Expression *left = nullptr, *right = nullptr;
  int64_t value = 0;
  int level = 0;
  // The most digits of a value in the whole tree (its sign not counted), and the characters of its texts.
  int most_digits = 1, input_length = 1, oracle_length = 1;

  std::string input() const;
  std::string oracle(Form form = Form::equations) const;
  // The same up to and with the root's "=", which is given where only the last step is to be written. A leaf has
  // nothing.
  std::string oracle_without_value(Form form = Form::equations) const;
};

// put(text) for each part of a text, in order, so that no string has to be allocated.
template <class Put>
void write_value(int64_t value, const Put& put) {
  std::array<char, 24> digits;
  const char* const end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  put(std::string_view(digits.data(), static_cast<size_t>(end - digits.data())));
}

template <class Put>
void write_input(const Expression& e, const Put& put) {
  if (!e.op) return write_value(e.value, put);
  put("(");
  write_input(*e.left, put);
  put(std::string_view(&e.op, 1));
  write_input(*e.right, put);
  put(")");
}

// Writes all that stands before a node's value, with write_child(child) for each of its children that is a node.
template <class Put, class WriteChild>
void write_before_value(const Expression& node, Form form, const Put& put, const WriteChild& write_child) {
  const auto child = [&](const Expression& e) {
    if (e.op)
      write_child(e);
    else if (form == Form::equations)
      write_value(e.value, put);
  };
  put("(");
  child(*node.left);
  if (form != Form::parentheses) put(std::string_view(&node.op, 1));
  child(*node.right);
  put("=");
}

template <class Put>
void write_oracle(const Expression& e, Form form, const Put& put, bool with_value = true) {
  if (e.op) write_before_value(e, form, put, [&](const Expression& child) { write_oracle(child, form, put); });
  if (!with_value) return;
  write_value(e.value, put);
  if (e.op) put(")");
}

// The memory of trees. Nodes stay in their place until they are released, and later nodes reuse their memory.
class ExpressionPool {
 public:
  // An Error for a leaf that is no digit, an operator other than + - and *, and a value of more than 18 digits.
  const Expression* make_leaf(int digit);
  const Expression* make_node(char op, const Expression* left, const Expression* right);
  // The tree of an input text. An Error says what was expected at which place of the text.
  const Expression* parse(std::string_view input);

  void reserve(size_t nodes) { nodes_.resize(std::max(nodes, nodes_.size())); }
  size_t used() const { return used_; }
  void release(size_t used) { used_ = used; }  // releases all nodes made since used() was this

 private:
  Expression& add();
  const Expression* parse(std::string_view input, size_t& at);

  // The pool has room for a tree of level 6 from the beginning.
  std::deque<Expression> nodes_ = std::deque<Expression>(64);
  size_t used_ = 0;
};

// The limits of trees. A tree breaks a limit where any of its nodes does.
struct ExpressionLimits {
  int max_answer_length = 3;    // digits of a node's value, the sign not counted
  int max_total_length = 88;    // characters of the oracle
  int max_sequence_length = 0;  // input and oracle, 0 for any
  int held_out = 16;            // see ExpressionSource, 0 for nothing
};

// The expressions of training and of evaluation. Levels 0 and 1 are the same in both. Of level 2 every held_out-th (by
// a hash of its input) belongs to evaluation, the others to training. Deeper trees are made of their own split's lower
// levels, at least one side from the level just below, so no expression of evaluation above level 1 is ever trained on.
// With held_out = 0 both are made of all expressions and may have some in common.
// Its expressions live in the pool and hold nodes of the source.
class ExpressionSource {
 public:
  enum class Split { training, evaluation };

  explicit ExpressionSource(const ExpressionLimits& limits);
  ExpressionSource(const ExpressionSource&) = delete;
  ExpressionSource& operator=(const ExpressionSource&) = delete;

  // Draws levels up to 2 uniformly over all expressions of the level and split. Above, operator and side are uniform,
  // and the other side's level is uniform among the lower ones. Throws an Error if nothing within the limits is found.
  const Expression* draw(Random& random, int level, Split split, ExpressionPool& pool) const;
  // `quantity` different ones, or all of them in a fixed order where a level up to 2 has no more.
  // An Error if there are none.
  std::vector<const Expression*> sample(uint64_t seed, int level, Split split, size_t quantity,
                                        ExpressionPool& pool) const;
  // Returns all expressions of level 0, 1 or 2, in a fixed order.
  std::vector<const Expression*> all(int level, Split split, ExpressionPool& pool) const;

  bool within_limits(const Expression& expression) const;
  bool is_held_out(const Expression& level_2) const;

 private:
  bool belongs(const Expression& level_2, Split split) const;
  [[noreturn]] void fail_nothing_of(int level) const;
  const Expression* combine(Random& random, int level, Split split, ExpressionPool& pool) const;

  ExpressionLimits limits_;
  ExpressionPool pool_;
  std::vector<const Expression*> leaves_, level_1_;
};

}  // namespace engine
