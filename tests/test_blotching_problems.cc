// Problems, their step-by-step solutions, and the file that the program writes of them.
#include "tasks/blotching/problems.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <sstream>

#include "core/error.h"
#include "tests/program.h"

namespace engine::test::test_blotching_problems {

namespace {

// Evaluates a problem by the rules of arithmetic, with nothing of the solver.
struct Evaluation {
  std::string_view text;
  size_t at = 0;

  char next() const { return at < text.size() ? text[at] : '\0'; }
  int64_t sum() {
    int64_t value = product();
    while (next() == '+') ++at, value += product();
    return value;
  }
  int64_t product() {
    int64_t value = atom();
    while (next() == '*') ++at, value *= atom();
    return value;
  }
  int64_t atom() {
    int64_t value = 0;
    if (next() == '(') {
      ++at;
      value = sum();
      CHECK(next() == ')');
      ++at;
      return value;
    }
    CHECK(std::isdigit(static_cast<unsigned char>(next())));
    while (std::isdigit(static_cast<unsigned char>(next()))) value = 10 * value + (text[at++] - '0');
    return value;
  }
};

int64_t value_of(std::string_view problem) {
  Evaluation evaluation{problem};
  const int64_t value = evaluation.sum();
  CHECK(evaluation.at == problem.size());
  return value;
}

BlotchingConfig limits(const std::function<void(BlotchingConfig&)>& change = {}) {
  BlotchingConfig config;
  config.init_samples = 100;
  config.val_samples = 50;
  if (change) change(config);
  return config;
}

std::vector<std::string> labelled(std::string_view problem) {
  Solver solver;
  solver.solve(problem);
  std::vector<std::string> lines;
  for (const Statement& s : solver.statements())
    lines.push_back(solver.row().substr(s.begin, s.end - s.begin) + " " + s.label());
  return lines;
}

// Splits a problem without parentheses into its numbers, and tells of each whether it is a factor.
std::vector<std::pair<int64_t, bool>> numbers_of(const std::string& problem) {
  std::vector<std::pair<int64_t, bool>> numbers;
  std::istringstream text(problem);
  char op = '+', next = 0;
  for (int64_t number; text >> number; op = next) {
    if (!(text >> next)) next = '+';
    numbers.emplace_back(number, op == '*' || next == '*');
  }
  return numbers;
}

void refused(const std::function<void(BlotchingConfig&)>& change, const char* what) {
  CHECK_THROWS_WITH_AS(ProblemSource{limits(change)}, doctest::Contains(what), UsageError);
}

}  // namespace

TEST_CASE("blotching problems: solutions worked by hand, with the phase of each step") {
  using Lines = std::vector<std::string>;
  CHECK(labelled("12+3*4") == Lines{"3*4+12 REARRANGE", "2*4+4+12 MULTIPLY", "4+4+4+12 MULTIPLY",
                                    "2+4+4+4+10 DECOMPOSE 2->1", "6+4+4+10 SUM 1->1", "4+10+10 SUM 1->2",
                                    "14+10 COMBINE 1->2", "24 SUM 2->2"});
  CHECK(labelled("5*0") == Lines{"0*5 REARRANGE", "0 MULTIPLY"});
  // Only one number has ones, so they stay where they are.
  CHECK(labelled("120+33") == Lines{"33+120 REARRANGE", "20+33+100 DECOMPOSE 3->2", "53+100 SUM 2->2",
                                    "153 COMBINE 2->3"});
  // A product of three: its smallest factor is taken apart first.
  CHECK(labelled("4*2*3")[0] == "2*3*4 REARRANGE");
  CHECK(labelled("4*2*3")[1] == "3*4+3*4 MULTIPLY");
  // The innermost parentheses are solved in their place.
  CHECK(labelled("2*(3+(4+5))") == Lines{"2*(3+9) SUM 1->1", "2*12 SUM 1->2", "12+12 MULTIPLY",
                                         "2+10+12 DECOMPOSE 2->1", "2+2+10+10 DECOMPOSE 2->1", "4+10+10 SUM 1->1",
                                         "14+10 COMBINE 1->2", "24 SUM 2->2"});
}

TEST_CASE("blotching problems: a sum that spills over gives up its digit while others wait") {
  using Lines = std::vector<std::string>;
  CHECK(labelled("8+7+6") ==
        Lines{"6+15 SUM 1->2", "5+6+10 DECOMPOSE 2->1", "11+10 SUM 1->2", "21 SUM 2->2"});
}

TEST_CASE("blotching problems: the last statement is the value, over many problems of each kind") {
  const std::vector<std::function<void(BlotchingConfig&)>> kinds{
      [](BlotchingConfig&) {},
      [](BlotchingConfig& c) { c.p_paren = 0.4, c.max_ents = 4, c.max_mult_num = 5; },
      [](BlotchingConfig& c) { c.space_mults = false, c.max_mult_num = 3, c.max_ents = 4, c.max_num = 50; },
      [](BlotchingConfig& c) { c.one_small_factor = true, c.zipf_order = 1.2, c.p_ent = 1, c.max_num = 5000; },
      [](BlotchingConfig& c) { c.p_mult = 0, c.max_num = 99999, c.max_ents = 8; }};
  for (size_t kind = 0; kind < kinds.size(); ++kind) {
    CAPTURE(kind);
    ProblemSource source(limits(kinds[kind]));
    Random random(4, kind);
    std::string problem;
    std::set<SolutionPhase> phases;
    int wrong = 0;
    for (int i = 0; i < 20000; ++i) {
      REQUIRE(source.draw(random, problem));
      const Solver& solver = source.solver();
      const std::string value = std::to_string(value_of(problem));
      wrong += solver.value() != value || !solver.row().starts_with(problem + "=");
      // Every statement has the same value.
      if (i % 20 == 0)
        for (const Statement& s : solver.statements())
          wrong += std::to_string(value_of(std::string_view(solver.row()).substr(s.begin, s.end - s.begin))) != value;
      for (const Statement& s : solver.statements()) phases.insert(s.phase);
    }
    CHECK(wrong == 0);
    CHECK(phases.size() == (kind == 4 ? 4 : 5));
  }
}

TEST_CASE("blotching problems: numbers keep the limits and have the frequencies of the options") {
  const auto draw = [](const std::function<void(BlotchingConfig&)>& change, const auto& visit) {
    const ProblemSampler sampler(limits(change));
    Random random(9, 0);
    std::string problem;
    for (int i = 0; i < 20000; ++i) {
      sampler.draw(random, problem);
      visit(problem);
    }
  };
  std::map<size_t, int> entities;
  int products = 0, spaced = 0, largest = 0, largest_factor = 0, operators = 0;
  draw([](BlotchingConfig& c) { c.max_ents = 4, c.p_ent = 0.25, c.p_mult = 0.3, c.max_num = 30, c.max_mult_num = 7; },
       [&](const std::string& problem) {
         const auto numbers = numbers_of(problem);
         ++entities[numbers.size()];
         for (const auto& [number, is_factor] : numbers)
           (is_factor ? largest_factor : largest) = std::max(is_factor ? largest_factor : largest,
                                                             static_cast<int>(number));
         products += problem.find('*') < problem.find('+');
         ++operators;
         for (size_t at = problem.find('*'); at != std::string::npos; at = problem.find('*', at + 1)) {
           const size_t next = problem.find_first_of("+*", at + 1);
           spaced += next == std::string::npos || problem[next] == '+';
           spaced -= next != std::string::npos && problem[next] == '*' ? 1000000 : 0;
         }
       });
  CHECK(largest == 30);
  CHECK(largest_factor == 7);
  CHECK(spaced > 0);
  CHECK(std::abs(products / 20000.0 - 0.3) < 0.02);  // the first operator
  CHECK(std::abs(entities[2] / 20000.0 - 0.75 * 0.75) < 0.02);
  CHECK(std::abs(entities[4] / 20000.0 - 0.25 * 0.25) < 0.01);
  CHECK(entities.size() == 3);
  std::map<int64_t, int> counts;
  draw([](BlotchingConfig& c) { c.zipf_order = 1, c.p_mult = 0, c.max_ents = 2, c.max_num = 4; },
       [&](const std::string& problem) {
         for (const auto& [number, is_factor] : numbers_of(problem)) ++counts[number];
       });
  CHECK(counts.size() == 4);  // none is 0
  const double unit = 40000 / (1 + 1 / 2.0 + 1 / 3.0 + 1 / 4.0);
  for (int k = 1; k <= 4; ++k) CHECK(std::abs(counts[k] - unit / k) < 500);
  bool has_large = false;
  draw([](BlotchingConfig& c) { c.one_small_factor = true, c.p_mult = 1, c.max_ents = 2, c.max_mult_num = 3; },
       [&](const std::string& problem) {
         const auto numbers = numbers_of(problem);
         CHECK(std::min(numbers[0].first, numbers[1].first) <= 3);
         has_large = has_large || std::max(numbers[0].first, numbers[1].first) > 90;
       });
  CHECK(has_large);
  int nested = 0;
  draw([](BlotchingConfig& c) { c.p_paren = 0.5, c.max_ents = 3; }, [&](const std::string& problem) {
    nested += problem.find('(') != std::string::npos;
    CHECK(problem.find("((") == std::string::npos);  // inside there are two numbers at most
  });
  CHECK(nested > 10000);
}

TEST_CASE("blotching problems: those held out are never drawn, and are the same for every training") {
  const auto config = limits([](BlotchingConfig& c) { c.max_num = 30, c.max_ents = 2, c.exhaustive = "never"; });
  ProblemSource source(config), again(config);
  CHECK(source.validation() == again.validation());
  CHECK(source.validation().size() == 50);
  const std::set<std::string> held(source.validation().begin(), source.validation().end());
  CHECK(held.size() == 50);
  Random random(1, 0);
  std::string problem;
  std::set<std::string> drawn;
  for (int i = 0; i < 20000; ++i) {
    REQUIRE(source.draw(random, problem));
    drawn.insert(problem);
  }
  for (const std::string& one : held) CHECK_FALSE(drawn.contains(one));
  const auto brief = limits([](BlotchingConfig& c) { c.seq_len = 30; });
  ProblemSource short_ones(brief);
  for (int i = 0; i < 1000; ++i) {
    REQUIRE(short_ones.draw(random, problem));
    CHECK(short_ones.solver().row().size() <= 29);
  }
}

TEST_CASE("blotching problems: a solution that grows too long is given up, and another problem is drawn") {
  Solver solver;
  CHECK(solver.solve("12+34"));
  const std::string row = solver.row();
  CHECK(solver.solve("12+34", row.size()));
  CHECK(solver.row() == row);
  CHECK_FALSE(solver.solve("12+34", row.size() - 1));
  CHECK_FALSE(solver.solve("12*12*12*12*12*12*12*12", 4095));
  ProblemSource source(limits([](BlotchingConfig& c) {
    c.max_ents = 5, c.p_ent = 0.8, c.p_mult = 0.6, c.max_mult_num = 12, c.space_mults = false;
  }));
  Random random(1, 0);
  std::string problem;
  for (int i = 0; i < 50; ++i) {
    REQUIRE(source.draw(random, problem));
    CHECK(source.solver().row().size() < 4096);
  }
}

TEST_CASE("blotching problems: a small space is known whole, a fifth of it held out") {
  const auto small = limits([](BlotchingConfig& c) { c.max_num = 6, c.max_ents = 3, c.max_mult_num = 2; });
  ProblemSource source(small);
  // 49 sums of two, 9 products; 343 sums of three, and a product before or behind each of 7 numbers.
  CHECK(source.training().size() + source.validation().size() == 49 + 9 + 343 + 2 * 9 * 7);
  CHECK(source.validation().size() == 50);
  std::set<std::string> all(source.training().begin(), source.training().end());
  all.insert(source.validation().begin(), source.validation().end());
  CHECK(all.size() == 527);
  const ProblemSampler sampler(small);
  Random random(3, 0);
  std::string problem;
  std::set<std::string> drawn;
  for (int i = 0; i < 40000; ++i) {
    sampler.draw(random, problem);
    drawn.insert(problem);
  }
  CHECK(drawn == all);
  ProblemSource tiny(limits([](BlotchingConfig& c) { c.max_num = 3, c.max_ents = 2, c.p_mult = 0; }));
  CHECK(tiny.training().size() == 13);
  CHECK(tiny.validation().size() == 3);
  CHECK(ProblemSource(limits()).training().empty());  // 303 is below 400, but there are too many
  ProblemSource always(limits([](BlotchingConfig& c) {
    c.exhaustive = "always", c.max_num = 300, c.max_ents = 2, c.p_mult = 1, c.one_small_factor = true;
    c.max_mult_num = 1;
  }));
  CHECK(always.training().size() + always.validation().size() == 2 * 2 * 301 - 4);
}

TEST_CASE("blotching problems: what cannot be is a usage error that names the option") {
  refused([](BlotchingConfig& c) { c.max_mult_num = 101; }, "blotching.max_mult_num is 101, but the largest number");
  refused([](BlotchingConfig& c) { c.p_paren = 0.5, c.max_ents = 2; }, "blotching.p_paren is 0.5");
  refused([](BlotchingConfig& c) { c.max_num = 1, c.max_ents = 2, c.max_mult_num = 1, c.exhaustive = "never"; },
          "blotching.val_samples is 50, but after");
  refused([](BlotchingConfig& c) { c.seq_len = 3; }, "blotching.seq_len = 3 tokens");
  // These would grow without end.
  refused([](BlotchingConfig& c) { c.max_ents = 8, c.p_paren = c.p_ent = 1, c.p_mult = 0, c.max_num = 9; },
          "of at most 4096 tokens: 100 were longer. Raise blotching.seq_len, or lower blotching.max_ents, "
          "blotching.p_paren");
  refused([](BlotchingConfig& c) { c.blotch_p_min = -0.5; }, "blotching.blotch_p_min is -0.5");
  refused([](BlotchingConfig& c) { c.axe_blotch_p = -0.1; }, "blotching.axe_blotch_p is -0.1");
  refused([](BlotchingConfig& c) { c.exhaustive = "always", c.max_num = 5000; }, "blotching.exhaustive is \"always\"");
  refused([](BlotchingConfig& c) { c.space_mults = false, c.max_ents = 16, c.max_mult_num = c.max_num = 1000; },
          "values above 10^15");
  refused([](BlotchingConfig& c) { c.init_samples = c.max_samples = 0; }, "would have no rows");
  Solver solver;
  for (const char* const text : {"", "1-2", "1+", "a", "1+)", "(1+2", "-1+2", "7"}) {
    CAPTURE(text);
    CHECK_THROWS_AS(solver.solve(text), Error);
  }
}

TEST_CASE("blotching problems: the program writes them, the same for the same seed") {
  const Program program;
  const std::string config = program.write("task.cfg", "task = \"blotching\"\n[blotching]\nmax_num = 20\n");
  const auto lines = [&](const std::string& seed) {
    const Ended ended = program.run({"problems", config, "--quantity", "300", "--seed", seed});
    CHECK_MESSAGE(ended.code == 0, ended.error);
    return ended.out;
  };
  const std::string text = lines("5");
  CHECK(std::count(text.begin(), text.end(), '\n') == 300);
  CHECK(text == lines("5"));
  CHECK(text != lines("6"));
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);)
    CHECK(std::to_string(value_of(line.substr(0, line.find('=')))) == line.substr(line.rfind('=') + 1));
  program.fails({"problems", config, "--blotching.max_ents", "0"}, 2, "blotching.max_ents");
  program.fails({"problems", config, "--blotching.p_mult", "1.5"}, 2, "blotching.p_mult");
  program.fails({"problems", config, "--blotching.max_mult_num", "21"}, 2, "blotching.max_mult_num is 21");
}

}  // namespace engine::test::test_blotching_problems
