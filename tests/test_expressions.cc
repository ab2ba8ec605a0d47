#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "core/error.h"
#include "tasks/scratchpad/expressions.h"

namespace engine::test::test_expressions {

namespace {

using Split = ExpressionSource::Split;

// This evaluator reads an input string and returns its value. It shares nothing with the product's.
int64_t value_of(const std::string& text, size_t& at) {
  if (text[at] != '(') return text[at++] - '0';
  ++at;
  const int64_t left = value_of(text, at);
  const char op = text[at++];
  const int64_t right = value_of(text, at);
  REQUIRE(text[at++] == ')');
  return op == '+' ? left + right : op == '-' ? left - right : left * right;
}

int64_t value_of(const std::string& text) {
  size_t at = 0;
  const int64_t value = value_of(text, at);
  REQUIRE(at == text.size());
  return value;
}

// Returns the level from the characters alone, which is the most parentheses open at once.
int nesting_of(const std::string& text) {
  int open = 0, most = 0;
  for (char c : text) {
    open += c == '(' ? 1 : c == ')' ? -1 : 0;
    most = std::max(most, open);
  }
  return most;
}

// Removes every "=value" from the oracle, which gives the input.
std::string without_values(const std::string& oracle) {
  std::string text;
  for (size_t i = 0; i < oracle.size(); ++i) {
    if (oracle[i] == '=')
      i = oracle.find(')', i);
    text += oracle[i];
  }
  return text;
}

}  // namespace

TEST_CASE("expressions: strings and values") {
  ExpressionPool pool;
  const auto* sum = pool.make_node('+', pool.make_leaf(1), pool.make_leaf(2));
  const auto* product = pool.make_node('*', sum, pool.make_leaf(3));
  CHECK(product->input() == "((1+2)*3)");
  CHECK(product->oracle() == "((1+2=3)*3=9)");
  CHECK(product->oracle_without_value() == "((1+2=3)*3=");
  CHECK(product->value == 9);
  CHECK(product->level == 2);
  CHECK(pool.make_leaf(7)->oracle() == "7");
  CHECK(pool.make_leaf(7)->level == 0);
  CHECK(pool.make_node('-', pool.make_leaf(1), pool.make_leaf(9))->oracle() == "(1-9=-8)");
  CHECK_THROWS_AS(pool.make_leaf(10), Error);
  CHECK_THROWS_AS(pool.make_node('/', pool.make_leaf(1), pool.make_leaf(1)), Error);
}

TEST_CASE("expressions: every level's values, strings and levels agree") {
  const ExpressionSource source({.max_total_length = 200});
  ExpressionPool pool;
  Random random(3, 0);
  for (int level = 0; level <= 4; ++level)
    for (Split split : {Split::training, Split::evaluation})
      for (int i = 0; i < 200; ++i) {
        const auto e = source.draw(random, level, split, pool);
        CHECK(e->level == level);
        CHECK(nesting_of(e->input()) == level);
        CHECK(nesting_of(e->oracle()) == level);
        CHECK(value_of(e->input()) == e->value);
        CHECK(without_values(e->oracle()) == e->input());
        CHECK(e->input_length == static_cast<int>(e->input().size()));
        CHECK(e->oracle_length == static_cast<int>(e->oracle().size()));
        CHECK(source.within_limits(*e));
      }
}

TEST_CASE("expressions: levels 0, 1 and 2 are complete, and level 2 is split without overlap") {
  const ExpressionSource source({.max_answer_length = 4});  // no product of level 2 is wider
  ExpressionPool pool;
  CHECK(source.all(0, Split::training, pool).size() == 10);
  CHECK(source.all(1, Split::training, pool).size() == 300);
  CHECK(source.all(1, Split::evaluation, pool).size() == 300);
  std::set<std::string> inputs;
  size_t count = 0;
  for (Split split : {Split::training, Split::evaluation})
    for (const auto& e : source.all(2, split, pool)) {
      inputs.insert(e->input());
      ++count;
    }
  CHECK(count == 3 * (300 * 300 + 2 * 300 * 10));
  CHECK(inputs.size() == count);
  const auto held_out = source.all(2, Split::evaluation, pool).size();
  CHECK(held_out > count / 16 * 95 / 100);
  CHECK(held_out < count / 16 * 105 / 100);
}

TEST_CASE("expressions: what is drawn for training never holds what is held out") {
  const ExpressionSource source({.max_total_length = 200});
  ExpressionPool pool;
  std::set<std::string> held_out;
  for (const auto& e : source.all(2, Split::evaluation, pool)) held_out.insert(e->input());
  const auto holds_any = [&](const auto& self, const Expression& e) -> bool {
    return e.op && (held_out.count(e.input()) || self(self, *e.left) || self(self, *e.right));
  };
  Random random(5, 0);
  for (int level = 2; level <= 4; ++level)
    for (int i = 0; i < 300; ++i) {
      CHECK_FALSE(holds_any(holds_any, *source.draw(random, level, Split::training, pool)));
      CHECK(holds_any(holds_any, *source.draw(random, level, Split::evaluation, pool)));
    }
}

TEST_CASE("expressions: limits hold for every node") {
  const ExpressionSource source({.max_answer_length = 1, .max_total_length = 18});
  ExpressionPool pool;
  for (const auto& e : source.all(2, Split::training, pool)) {
    CHECK(std::abs(e->value) <= 9);
    CHECK(std::abs(e->left->value) <= 9);
    CHECK(e->oracle().size() <= 18);
  }
  // 9 * 9 = 81 is too wide as a result, and as a step on the way.
  const auto wide = pool.make_node('*', pool.make_leaf(9), pool.make_leaf(9));
  CHECK_FALSE(source.within_limits(*wide));
  CHECK_FALSE(source.within_limits(*pool.make_node('-', wide, wide)));
  CHECK(source.within_limits(*pool.make_node('-', pool.make_leaf(0), pool.make_leaf(9))));  // the sign is not counted
  Random random(1, 0);
  CHECK_THROWS_WITH_AS(source.draw(random, 3, Split::training, pool), doctest::Contains("level 3"), UsageError);
  const ExpressionSource short_sequences({.max_sequence_length = 24});
  for (const auto& e : short_sequences.sample(1, 2, Split::training, 500, pool))
    CHECK(e->input().size() + e->oracle().size() <= 24);
}

TEST_CASE("expressions: a sample has no duplicates and is a function of its seed") {
  const ExpressionSource source({});
  ExpressionPool pool;
  const auto inputs = [&](uint64_t seed, int level) {
    std::vector<std::string> list;
    for (const auto& e : source.sample(seed, level, Split::evaluation, 400, pool)) list.push_back(e->input());
    return list;
  };
  for (int level = 2; level <= 3; ++level) {
    const auto first = inputs(1, level);
    CHECK(std::set<std::string>(first.begin(), first.end()).size() == 400);
    CHECK(first == inputs(1, level));
    CHECK(first != inputs(2, level));
  }
  CHECK(source.sample(1, 1, Split::evaluation, 1000, pool).size() == 300);
}

}  // namespace engine::test::test_expressions
