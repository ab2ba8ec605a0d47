#include <doctest/doctest.h>

#include <map>

#include "core/error.h"
#include "tasks/scratchpad/curriculum.h"

namespace engine::test::test_curriculum {

namespace {

ScratchpadConfig automatic(const std::string& policy) {
  ScratchpadConfig config;
  config.mixture = {"1:1", "2:1", "3:1"};
  config.curriculum = policy;
  return config;
}

// Returns the levels chosen in `steps` steps. loss(level, how often it came before) is the step's.
template <class Loss>
std::map<int, int> chosen(Curriculum& curriculum, int64_t first, int64_t last, std::map<int, int>& before,
                          const Loss& loss) {
  std::map<int, int> count;
  Random random(1, 0);
  for (int64_t step = first; step < last; ++step) {
    curriculum.begin_step(step);
    const int level = curriculum.draw(random);
    CHECK(curriculum.draw(random) == level);  // all examples of the step
    curriculum.step_done(loss(level, before[level]++));
    ++count[level];
  }
  return count;
}

}  // namespace

TEST_CASE("curriculum: stages come one after another, then the mixture") {
  ScratchpadConfig config;
  config.mixture = {"3:1"};
  config.stages = {"10 1:1", "5 1:1 2:3"};
  Curriculum curriculum(config, 1);
  Random random(4, 0);
  for (int64_t step = 0; step < 20; ++step) {
    curriculum.begin_step(step);
    std::map<int, int> levels;
    for (int i = 0; i < 200; ++i) ++levels[curriculum.draw(random)];
    if (step < 10) CHECK(levels[1] == 200);
    if (step >= 15) CHECK(levels[3] == 200);
    if (step >= 10 && step < 15) {
      CHECK(levels[1] + levels[2] == 200);
      CHECK(std::abs(levels[2] - 150) < 40);
    }
  }
  CHECK(curriculum.levels() == std::vector{1, 2, 3});
  CHECK(curriculum.has(2));
  CHECK_FALSE(curriculum.has(4));
  CHECK(curriculum.log().empty());
  CHECK_FALSE(curriculum.is_constant());
}

TEST_CASE("curriculum: the level whose loss falls is chosen") {
  // Level 2 is learned as it comes. Level 1 is known already, and 3 cannot be learned yet.
  const auto loss = [](int level, int before) {
    return level == 1 ? 0.01 : level == 2 ? 2.0 / (1 + 0.05 * before) : 3.0;
  };
  for (const std::string policy : {"argmax", "epsilon_greedy", "exp3"}) {
    CAPTURE(policy);
    Curriculum curriculum(automatic(policy), 5);
    std::map<int, int> before;
    const auto count = chosen(curriculum, 0, 200, before, loss);
    CHECK(count.at(2) > 110);
    for (const int level : {1, 3}) CHECK(count.at(level) >= 2);
  }
}

TEST_CASE("curriculum: a level that begins to be learned later is found") {
  for (const std::string policy : {"epsilon_greedy", "exp3"}) {
    CAPTURE(policy);
    Curriculum curriculum(automatic(policy), 5);
    std::map<int, int> before;
    chosen(curriculum, 0, 300, before, [](int level, int n) { return level == 1 ? 2.0 / (1 + 0.05 * n) : 3.0; });
    before.clear();
    const auto count = chosen(curriculum, 300, 900, before,
                              [](int level, int n) { return level == 3 ? 3.0 * std::pow(0.98, n) : 0.05; });
    CHECK(count.at(3) > count.at(1));
    CHECK(count.at(3) > count.at(2));
  }
}

TEST_CASE("curriculum: its state goes on as if it had not stopped") {
  const auto loss = [](int level, int before) { return 1.0 / (level + 0.1 * before); };
  for (const std::string policy : {"argmax", "epsilon_greedy", "exp3"}) {
    Curriculum whole(automatic(policy), 5), first(automatic(policy), 5), second(automatic(policy), 5);
    std::map<int, int> a, b;
    chosen(whole, 0, 40, a, loss);
    chosen(first, 0, 40, b, loss);
    second.set_state(first.state());
    CHECK(chosen(whole, 40, 90, a, loss) == chosen(second, 40, 90, b, loss));
    CHECK(whole.state() == second.state());
    CHECK(whole.log() == second.log());
    CHECK(whole.log().size() == (policy == "exp3" ? 6u : 3u));
    CHECK_THROWS_WITH_AS(second.set_state("{}"), doctest::Contains("levels"), Error);
    CHECK_THROWS_WITH_AS(second.set_state("{\"levels\": [[], [], []], \"scale\": 0}"), doctest::Contains("damaged"),
                         Error);
  }
  Curriculum other(automatic("exp3"), 6);
  CHECK(Curriculum(ScratchpadConfig{}, 5).state().empty());
}

TEST_CASE("curriculum: stages that are none are named") {
  const auto refused = [](const std::string& stage, const char* what) {
    ScratchpadConfig config;
    config.stages = {stage};
    CHECK_THROWS_WITH_AS(Curriculum(config, 1), doctest::Contains(what), UsageError);
  };
  refused("1:1", "begin with its steps");
  refused("0 1:1", "begin with its steps");
  refused("x 1:1", "begin with its steps");
  refused("10", "empty");
  refused("10 1", "level:parts");
  refused("10 1:1 1:2", "twice");
}

}  // namespace engine::test::test_curriculum
