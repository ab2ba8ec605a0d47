#include "tasks/scratchpad/expressions.h"

#include <algorithm>
#include <unordered_set>

#include "core/error.h"
#include "core/hash.h"

namespace engine {

namespace {

constexpr std::array<char, 3> operators{'+', '-', '*'};
// With the default limits one draw in two is within them. A level that needs this many tries has nothing to give.
constexpr int most_tries = 100000;
constexpr int64_t largest_value = 999'999'999'999'999'999;

// An Error for a value of more than 18 digits.
int64_t apply(char op, int64_t a, int64_t b) {
  int64_t value = 0;
  const bool overflows = op == '+'   ? __builtin_add_overflow(a, b, &value)
                         : op == '-' ? __builtin_sub_overflow(a, b, &value)
                                     : __builtin_mul_overflow(a, b, &value);
  require(!overflows && -largest_value <= value && value <= largest_value,
          "an expression has a value of more than 18 digits");
  return value;
}

// The last mixing makes every bit of the number depend on every character.
uint64_t hash_of_input(const Expression& expression) {
  uint64_t hash = empty_hash;
  write_input(expression, [&](std::string_view part) { hash = hash_of(part, hash); });
  hash ^= hash >> 33;
  hash *= 0xff51afd7ed558ccdu;
  return hash ^ (hash >> 33);
}

int digits_of(int64_t value) {
  int digits = 1;
  for (value = value < 0 ? -value : value; value > 9; value /= 10) ++digits;
  return digits;
}

}  // namespace

std::string Expression::input() const {
  std::string text;
  write_input(*this, [&](std::string_view part) { text += part; });
  return text;
}

std::string Expression::oracle(Form form) const {
  std::string text;
  write_oracle(*this, form, [&](std::string_view part) { text += part; });
  return text;
}

std::string Expression::oracle_without_value(Form form) const {
  std::string text;
  write_oracle(*this, form, [&](std::string_view part) { text += part; }, /*with_value=*/false);
  return text;
}

Expression& ExpressionPool::add() {
  if (used_ == nodes_.size()) nodes_.emplace_back();
  return nodes_[used_++] = {};
}

const Expression* ExpressionPool::make_leaf(int digit) {
  require(0 <= digit && digit <= 9, "a leaf of an expression is a digit, not ", digit);
  Expression& leaf = add();
  leaf.value = digit;
  return &leaf;
}

const Expression* ExpressionPool::make_node(char op, const Expression* left, const Expression* right) {
  require(std::find(operators.begin(), operators.end(), op) != operators.end(),
          "an expression's operator is + - or *, not ", op);
  Expression& node = add();
  node.op = op;
  node.left = left;
  node.right = right;
  node.value = apply(op, left->value, right->value);
  node.level = 1 + std::max(left->level, right->level);
  const int digits = digits_of(node.value);
  node.most_digits = std::max({digits, left->most_digits, right->most_digits});
  node.input_length = 3 + left->input_length + right->input_length;
  node.oracle_length = 4 + left->oracle_length + right->oracle_length + digits + (node.value < 0);
  return &node;
}

const Expression* ExpressionPool::parse(std::string_view input, size_t& at) {
  const auto wrong = [&](const char* expected) {
    fail("\"", input, "\" is no expression: at character ", at + 1, " ", expected, " is expected");
  };
  const auto next = [&] { return at < input.size() ? input[at] : '\0'; };
  if ('0' <= next() && next() <= '9') return make_leaf(input[at++] - '0');
  if (next() != '(') wrong("a digit or (");
  ++at;
  const Expression* const left = parse(input, at);
  const char op = next();
  if (std::find(operators.begin(), operators.end(), op) == operators.end()) wrong("+, - or *");
  ++at;
  const Expression* const right = parse(input, at);
  if (next() != ')') wrong(")");
  ++at;
  return make_node(op, left, right);
}

const Expression* ExpressionPool::parse(std::string_view input) {
  // Every level takes four characters, and a deeper tree would only exhaust the stack.
  require(input.size() < 4096, "an expression of ", input.size(), " characters: fewer than 4096 are taken");
  size_t at = 0;
  const Expression* const tree = parse(input, at);
  require(at == input.size(), "\"", input, "\" is no expression: it ends after ", at, " of ", input.size(),
          " characters");
  return tree;
}

ExpressionSource::ExpressionSource(const ExpressionLimits& limits) : limits_(limits) {
  require(limits.held_out == 0 || limits.held_out >= 2, "expressions: of ", limits.held_out,
          " expressions one held out: at least of 2, or 0");
  for (int digit = 0; digit <= 9; ++digit) leaves_.push_back(pool_.make_leaf(digit));
  for (char op : operators)
    for (const Expression* left : leaves_)
      for (const Expression* right : leaves_) {
        const Expression* const node = pool_.make_node(op, left, right);
        if (within_limits(*node)) level_1_.push_back(node);
      }
}

bool ExpressionSource::within_limits(const Expression& e) const {
  return e.most_digits <= limits_.max_answer_length && e.oracle_length <= limits_.max_total_length &&
         (!limits_.max_sequence_length || e.oracle_length + e.input_length <= limits_.max_sequence_length);
}

bool ExpressionSource::is_held_out(const Expression& level_2) const {
  return limits_.held_out && hash_of_input(level_2) % static_cast<uint64_t>(limits_.held_out) == 0;
}

bool ExpressionSource::belongs(const Expression& level_2, Split split) const {
  return !limits_.held_out || is_held_out(level_2) == (split == Split::evaluation);
}

const Expression* ExpressionSource::combine(Random& random, int level, Split split, ExpressionPool& pool) const {
  const char op = operators[random.below(3)];
  if (level == 2) {
    // Draws uniformly over the pairs (level 1, level 1), (level 1, leaf), (leaf, level 1).
    const auto nodes = static_cast<uint32_t>(level_1_.size()), leaves = static_cast<uint32_t>(leaves_.size());
    uint32_t pair = random.below(nodes * (nodes + 2 * leaves));
    if (pair < nodes * nodes) return pool.make_node(op, level_1_[pair / nodes], level_1_[pair % nodes]);
    pair -= nodes * nodes;
    if (pair < nodes * leaves) return pool.make_node(op, level_1_[pair / leaves], leaves_[pair % leaves]);
    pair -= nodes * leaves;
    return pool.make_node(op, leaves_[pair % leaves], level_1_[pair / leaves]);
  }
  const bool deep_left = random.below(2) == 0;
  const Expression* const deep = draw(random, level - 1, split, pool);
  const auto other_level = static_cast<int>(random.below(static_cast<uint32_t>(level)));
  const Expression* const other = draw(random, other_level, split, pool);
  return deep_left ? pool.make_node(op, deep, other) : pool.make_node(op, other, deep);
}

const Expression* ExpressionSource::draw(Random& random, int level, Split split, ExpressionPool& pool) const {
  if (level == 0) return leaves_[random.below(static_cast<uint32_t>(leaves_.size()))];
  if (level == 1 && !level_1_.empty()) return level_1_[random.below(static_cast<uint32_t>(level_1_.size()))];
  const size_t used = pool.used();
  for (int i = 0; i < most_tries && level >= 2 && !level_1_.empty(); ++i) {
    const Expression* const expression = combine(random, level, split, pool);
    const bool other_split = level == 2 && !belongs(*expression, split);
    if (!other_split && within_limits(*expression)) return expression;
    pool.release(used);
  }
  fail_nothing_of(level);
}

void ExpressionSource::fail_nothing_of(int level) const {
  fail_usage("no arithmetic expression of level ", level, " has values of at most ", limits_.max_answer_length,
             " digits and a scratchpad of at most ", limits_.max_total_length,
             " tokens: raise scratchpad.max_answer_length, scratchpad.max_total_length or model.max_positions");
}

std::vector<const Expression*> ExpressionSource::all(int level, Split split, ExpressionPool& pool) const {
  require(0 <= level && level <= 2, "all expressions of level ", level, " are too many: of level 0, 1 or 2");
  if (level == 0) return leaves_;
  if (level == 1) return level_1_;
  std::vector<const Expression*> found;
  const auto add = [&](char op, const Expression* left, const Expression* right) {
    const size_t used = pool.used();
    const Expression* const node = pool.make_node(op, left, right);
    if (belongs(*node, split) && within_limits(*node))
      found.push_back(node);
    else
      pool.release(used);
  };
  for (char op : operators) {
    for (const Expression* left : level_1_)
      for (const Expression* right : level_1_) add(op, left, right);
    for (const Expression* node : level_1_)
      for (const Expression* leaf : leaves_) {
        add(op, node, leaf);
        add(op, leaf, node);
      }
  }
  return found;
}

std::vector<const Expression*> ExpressionSource::sample(uint64_t seed, int level, Split split, size_t quantity,
                                                        ExpressionPool& pool) const {
  Random random(seed, static_cast<uint64_t>(level));
  std::vector<const Expression*> found;
  if (level <= 2) {
    found = all(level, split, pool);
    if (found.empty()) fail_nothing_of(level);
    if (found.size() <= quantity) return found;
    for (size_t i = 0; i < quantity; ++i)
      std::swap(found[i], found[i + random.below(static_cast<uint32_t>(found.size() - i))]);
    found.resize(quantity);
    return found;
  }
  std::unordered_set<std::string> seen;
  int repeated = 0;
  while (found.size() < quantity && repeated < most_tries) {
    const Expression* const expression = draw(random, level, split, pool);
    if (seen.insert(expression->input()).second)
      found.push_back(expression);
    else
      ++repeated;
  }
  require(found.size() == quantity, "only ", found.size(), " different expressions of level ", level,
          " were found: lower scratchpad.eval_quantity");
  return found;
}

}  // namespace engine
