#include "tasks/scratchpad/expressions.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <unordered_set>

#include "core/error.h"

namespace engine {

namespace {

constexpr std::array<char, 3> kOperators{'+', '-', '*'};
// With the default limits one draw in two is within them; a level that needs this many tries has nothing to give.
constexpr int kTries = 100000;

int64_t apply(char op, int64_t a, int64_t b) {
  switch (op) {
    case '+': return a + b;
    case '-': return a - b;
    default: return a * b;
  }
}

// FNV-1a with a last mixing, so that every bit of the number depends on every character.
uint64_t hash_of(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  hash ^= hash >> 33;
  hash *= 0xff51afd7ed558ccdu;
  return hash ^ (hash >> 33);
}

void append_input(const Expression& e, std::string& text) {
  if (!e.op) {
    text += std::to_string(e.value);
    return;
  }
  text += '(';
  append_input(*e.left, text);
  text += e.op;
  append_input(*e.right, text);
  text += ')';
}

void append_oracle(const Expression& e, std::string& text);

void append_oracle_without_value(const Expression& e, std::string& text) {
  if (!e.op) return;
  text += '(';
  append_oracle(*e.left, text);
  text += e.op;
  append_oracle(*e.right, text);
  text += '=';
}

void append_oracle(const Expression& e, std::string& text) {
  append_oracle_without_value(e, text);
  text += std::to_string(e.value);
  if (e.op) text += ')';
}

}  // namespace

std::string Expression::input() const {
  std::string text;
  append_input(*this, text);
  return text;
}

std::string Expression::oracle() const {
  std::string text;
  append_oracle(*this, text);
  return text;
}

std::string Expression::oracle_without_value() const {
  std::string text;
  append_oracle_without_value(*this, text);
  return text;
}

ExpressionPointer make_leaf(int digit) {
  require(0 <= digit && digit <= 9, "a leaf of an expression is a digit, not ", digit);
  auto leaf = std::make_shared<Expression>();
  leaf->value = digit;
  return leaf;
}

ExpressionPointer make_node(char op, ExpressionPointer left, ExpressionPointer right) {
  require(std::find(kOperators.begin(), kOperators.end(), op) != kOperators.end(),
          "an expression's operator is + - or *, not ", op);
  auto node = std::make_shared<Expression>();
  node->op = op;
  node->value = apply(op, left->value, right->value);
  node->level = 1 + std::max(left->level, right->level);
  node->left = std::move(left);
  node->right = std::move(right);
  return node;
}

ExpressionSource::ExpressionSource(const ExpressionLimits& limits) : limits_(limits) {
  require(limits.held_out >= 2, "expressions: of ", limits.held_out, " expressions one held out: at least of 2");
  for (int digit = 0; digit <= 9; ++digit) leaves_.push_back(make_leaf(digit));
  for (char op : kOperators)
    for (const auto& left : leaves_)
      for (const auto& right : leaves_)
        if (auto node = make_node(op, left, right); within_limits(*node)) level_1_.push_back(std::move(node));
}

bool ExpressionSource::within_limits(const Expression& expression) const {
  const auto values_fit = [&](const auto& self, const Expression& e) -> bool {
    const size_t digits = std::to_string(e.value < 0 ? -e.value : e.value).size();
    return digits <= static_cast<size_t>(limits_.max_answer_length) &&
           (!e.op || (self(self, *e.left) && self(self, *e.right)));
  };
  if (!values_fit(values_fit, expression)) return false;
  const size_t oracle = expression.oracle().size();
  if (oracle > static_cast<size_t>(limits_.max_total_length)) return false;
  return !limits_.max_sequence_length ||
         oracle + expression.input().size() <= static_cast<size_t>(limits_.max_sequence_length);
}

bool ExpressionSource::is_held_out(const Expression& level_2) const {
  return hash_of(level_2.input()) % static_cast<uint64_t>(limits_.held_out) == 0;
}

ExpressionPointer ExpressionSource::combine(Random& random, int level, Split split) const {
  const char op = kOperators[random.below(3)];
  if (level == 2) {
    // Uniform over the pairs (level 1, level 1), (level 1, leaf), (leaf, level 1).
    const auto nodes = static_cast<uint32_t>(level_1_.size()), leaves = static_cast<uint32_t>(leaves_.size());
    uint32_t pair = random.below(nodes * (nodes + 2 * leaves));
    if (pair < nodes * nodes) return make_node(op, level_1_[pair / nodes], level_1_[pair % nodes]);
    pair -= nodes * nodes;
    if (pair < nodes * leaves) return make_node(op, level_1_[pair / leaves], leaves_[pair % leaves]);
    pair -= nodes * leaves;
    return make_node(op, leaves_[pair % leaves], level_1_[pair / leaves]);
  }
  const bool deep_left = random.below(2) == 0;
  auto deep = draw(random, level - 1, split);
  auto other = draw(random, static_cast<int>(random.below(static_cast<uint32_t>(level))), split);
  return deep_left ? make_node(op, std::move(deep), std::move(other))
                   : make_node(op, std::move(other), std::move(deep));
}

ExpressionPointer ExpressionSource::draw(Random& random, int level, Split split) const {
  if (level == 0) return leaves_[random.below(static_cast<uint32_t>(leaves_.size()))];
  if (level == 1 && !level_1_.empty()) return level_1_[random.below(static_cast<uint32_t>(level_1_.size()))];
  for (int i = 0; i < kTries && level >= 2 && !level_1_.empty(); ++i) {
    auto expression = combine(random, level, split);
    if (level == 2 && is_held_out(*expression) != (split == Split::evaluation)) continue;
    if (within_limits(*expression)) return expression;
  }
  fail_nothing_of(level);
}

void ExpressionSource::fail_nothing_of(int level) const {
  fail_usage("no arithmetic expression of level ", level, " has values of at most ", limits_.max_answer_length,
             " digits and a scratchpad of at most ", limits_.max_total_length,
             " tokens: raise scratchpad.max_answer_length, scratchpad.max_total_length or model.max_positions");
}

std::vector<ExpressionPointer> ExpressionSource::all(int level, Split split) const {
  require(0 <= level && level <= 2, "all expressions of level ", level, " are too many: of level 0, 1 or 2");
  if (level == 0) return leaves_;
  if (level == 1) return level_1_;
  std::vector<ExpressionPointer> found;
  const auto add = [&](char op, const ExpressionPointer& left, const ExpressionPointer& right) {
    auto node = make_node(op, left, right);
    if (is_held_out(*node) == (split == Split::evaluation) && within_limits(*node)) found.push_back(std::move(node));
  };
  for (char op : kOperators) {
    for (const auto& left : level_1_)
      for (const auto& right : level_1_) add(op, left, right);
    for (const auto& node : level_1_)
      for (const auto& leaf : leaves_) {
        add(op, node, leaf);
        add(op, leaf, node);
      }
  }
  return found;
}

std::vector<ExpressionPointer> ExpressionSource::sample(uint64_t seed, int level, Split split, size_t quantity) const {
  Random random(seed, static_cast<uint64_t>(level));
  std::vector<ExpressionPointer> found;
  if (level <= 2) {
    found = all(level, split);
    if (found.empty()) fail_nothing_of(level);
    if (found.size() <= quantity) return found;
    for (size_t i = 0; i < quantity; ++i)
      std::swap(found[i], found[i + random.below(static_cast<uint32_t>(found.size() - i))]);
    found.resize(quantity);
    return found;
  }
  std::unordered_set<std::string> seen;
  int repeated = 0;
  while (found.size() < quantity && repeated < kTries) {
    auto expression = draw(random, level, split);
    if (seen.insert(expression->input()).second)
      found.push_back(std::move(expression));
    else
      ++repeated;
  }
  require(found.size() == quantity, "only ", found.size(), " different expressions of level ", level,
          " were found: lower scratchpad.eval_quantity");
  return found;
}

}  // namespace engine
