// The rows of a training change: the ring that holds them, when changes are due, and which step axe removes.
#include "tasks/blotching/changes.h"

#include <cmath>
#include <set>

#include "tests/blotching_settings.h"
#include "tests/operation.h"

namespace engine::test::test_blotching_changes {

namespace {

// Returns after which of the epochs with these losses rows change.
std::vector<int> due(const std::vector<double>& losses, const std::function<void(BlotchingConfig&)>& change) {
  const BlotchingConfig config = own_of([&](auto& c) {
    c.star_loops = 1, c.pre_epochs = 0;
    change(c);
  });
  ChangeSchedule schedule(config);
  std::vector<int> epochs;
  for (int epoch = 0; epoch < static_cast<int>(losses.size()); ++epoch) {
    // The saved window is all that it remembers.
    ChangeSchedule resumed(config);
    resumed.set_window(schedule.window());
    const bool is_due = schedule.is_due(epoch, losses[static_cast<size_t>(epoch)]);
    CHECK(resumed.is_due(epoch, losses[static_cast<size_t>(epoch)]) == is_due);
    if (is_due) epochs.push_back(epoch);
  }
  return epochs;
}

// A row's trials, each with its losses behind the hole.
AxeScores scores(std::vector<float> whole, std::vector<AxeScores::Trial> trials) {
  return {std::move(whole), std::move(trials)};
}

}  // namespace

TEST_CASE("blotching changes: a full ring overwrites its oldest rows, in place does not, and its text is all of it") {
  RowCache cache(3);
  for (const char* const row : {"1=1", "2=2", "3=3", "4=4", "5=5"}) cache.add(row);
  CHECK(cache.text() == "2\n4=4\n5=5\n3=3\n");
  RowCache other(3);
  other.set_text(cache.text(), "here");
  for (RowCache* const one : {&cache, &other}) {
    one->replace(2, "33=6");
    one->add("6=6");
    one->add("7=7");
    CHECK(one->text() == "1\n7=7\n5=5\n6=6\n");
  }
  CHECK(cache.mean_length() == 3);
  RowCache many(200);
  for (int i = 0; i < 200; ++i) many.add(std::to_string(i));
  const auto order = many.order(1, 5);
  CHECK(std::set<uint32_t>(order.begin(), order.end()).size() == 200);
  CHECK(order == many.order(1, 5));
  CHECK(order != many.order(1, 6));
  CHECK(order != many.order(2, 5));
  const std::pair<const char*, const char*> damaged[] = {
      {"", "here:1: "},           {"0", "here:1: "},        {"x\n1=1\n", "here:1: "},     {"3\n1=1\n", "here:1: "},
      {"0\n", "here:2: "},        {"0\n1=1", "here:2: "},  {"0\n1=1\n\n", "here:3: "},   {"0\n1=1\n12\n", "here:3: "},
      {"0\n1+1=x\n", "here:2: "}, {"0\n=1\n", "here:2: "}, {"0\n1=1\n1+1=\n", "here:3: "},
      {"0\n1=1\n2=2\n3=3\n4=4\n", "here:5: "}};
  for (const auto& [text, where] : damaged)
    CHECK_THROWS_WITH_AS(other.set_text(text, "here"), doctest::Contains(where), Error);
}

TEST_CASE("blotching changes: they are due by the number of the epoch or at a plateau") {
  const std::vector<double> falling(8, 1.0);
  CHECK(due(falling, [](auto& c) { c.aug_mod = 3; }) == std::vector<int>{0, 3, 6});
  CHECK(due(falling, [](auto& c) { c.aug_mod = 1, c.pre_epochs = 6; }) == std::vector<int>{6, 7});
  CHECK(due(falling, [](auto& c) { c.star_loops = 0, c.aug_mod = 1; }).empty());
  // The oldest of three must be below the two behind it, and after a change three new ones are needed.
  const std::vector<double> losses{5, 4, 3, 3.5, 3.2, 3.3, 3.4, 3.1, 3.2, 3.3};
  const auto plateau = [](auto& c) { c.aug_mod = -1, c.min_aug_gap = 3; };
  CHECK(due(losses, plateau) == std::vector<int>{4, 9});
  CHECK(due({1, 1, 1, 1}, plateau).empty());  // equal is not above
  CHECK(due({1, 2, 3, 2, 3, 4}, [&](auto& c) { plateau(c), c.pre_epochs = 3; }) == std::vector<int>{5});
  CHECK(due(losses, [&](auto& c) { plateau(c), c.any_rise = true; }) == std::vector<int>{3, 5, 6, 8, 9});
}

TEST_CASE("blotching changes: axe takes the step that is missed least, within the tolerances") {
  // Steps "2+2=", "3=", "4=" and the answer "5" with its end. Losses are of the tokens behind the first =.
  const std::string row = "1+1=2+2=3=4=5";
  const std::vector<float> whole{1, 1, 1, 1, 2, 2, 3, 3, 4, 5};
  const AxeScores all = scores(whole, {{{2, 2, 3, 3, 4, 6}, true}, {{3, 3, 4.5f, 5}, true}, {{3, 3}, true}});
  const auto choice = [&](const AxeScores& of, const std::function<void(BlotchingConfig&)>& change = {}) {
    return choose_step(row, of, own_of(change));
  };
  // Means rise by 1/6, 0.5/4 and -1.5 (of 4 and 5 behind the last hole).
  CHECK(choice(all).step == 2);
  CHECK(choice(all).difference == doctest::Approx(-1.5));
  CHECK(choice(all).ratio == doctest::Approx(-1.5 / 4.5));
  AxeScores wrong = all;
  wrong.trials[2].is_answer_right = false;
  CHECK(choice(wrong).step == 1);
  CHECK(choice(wrong).difference == doctest::Approx(0.125));
  // With the next step alone, the first one rises by 0, the second by 0.
  CHECK(choice(wrong, [](auto& c) { c.axe_comp_steps = 1; }).step == 0);
  CHECK(choice(wrong, [](auto& c) { c.axe_comp_steps = 2; }).step == 0);
  CHECK(choice(wrong, [](auto& c) { c.abs_axe_tol = 0.125; }).step == -1);
  CHECK(choice(wrong, [](auto& c) { c.abs_axe_tol = 0.13; }).step == 1);
  CHECK(choice(wrong, [](auto& c) { c.rel_axe_tol = 0.03; }).step == -1);
  CHECK(choice(wrong, [](auto& c) { c.rel_axe_tol = 0.04; }).step == 1);
  CHECK(choice(wrong, [](auto& c) { c.axe_use_ppl = true; }).difference ==
        doctest::Approx(std::exp(20 / 6.0) - std::exp(19 / 6.0)));
  for (AxeScores::Trial& trial : wrong.trials) trial.is_answer_right = false;
  CHECK(choice(wrong).step == -1);
  CHECK(choose_step("1+1=2", scores({1, 1}, {}), own_of()).step == -1);
}

TEST_CASE("blotching changes: axe's trials behind a cache have the losses of whole rows, one at a time") {
  // An lstm copies no beginnings of rows. Its trials run whole.
  for (const std::string kind : {"counts", "places", "lstm"}) {
    CAPTURE(kind);
    std::string text = small_blotching;
    if (kind == "lstm")
      text.replace(text.find("num_heads = 2"), 13, "architecture = \"lstm\"");
    TaskSettings settings(text + "n_btokens = 3\nblotch_p_max = 0.6\npad_pos_skip = " +
                          (kind == "places" ? "false\n" : "true\n"));
    const auto task = settings.task();
    Model& model = causal(*task).model();
    const BlotchingConfig& own = settings.sections.blotching;
    const RowFormat format(causal(*task).tokenizer(), BlotchLevels(own), own);
    const std::vector<std::string> rows{"8+7+6=6+15=5+6+10=11+10=21", "1+1=2", "2*3+9=3+3+9=6+9=15"};
    const std::vector<AxeScores> found = AxeScorer(*settings.ops, model, DType::f32, format).score(rows, 1);
    REQUIRE(found.size() == 3);
    const auto slow = [&](const std::string& row, const std::vector<bool>& left_out) {
      SequenceBatch batch;
      format.append(row, 1, left_out, batch);
      ScoredTokens each{.wants_losses = true, .wants_ranks = true};
      LossStep(model).evaluate(settings.machine, batch, &each);
      return each;
    };
    for (size_t i = 0; i < rows.size(); ++i) {
      const std::vector<size_t> places = equal_signs(rows[i]);
      CHECK_CLOSE(in_double(found[i].losses), in_double(slow(rows[i], {}).losses), 40 * epsilon_of(DType::f32));
      REQUIRE(found[i].trials.size() == steps_of(places));
      for (size_t step = 0; step < steps_of(places); ++step) {
        std::vector<bool> left_out(steps_of(places), false);
        left_out[step] = true;
        const ScoredTokens each = slow(rows[i], left_out);
        const auto behind = static_cast<ptrdiff_t>(rows[i].size() - places[step + 1]);
        CHECK_CLOSE(in_double(found[i].trials[step].losses),
                    in_double({each.losses.end() - behind, each.losses.end()}), 40 * epsilon_of(DType::f32));
        const auto answer = static_cast<ptrdiff_t>(rows[i].size() - places.back());
        CHECK(found[i].trials[step].is_answer_right ==
              std::all_of(each.ranks.end() - answer, each.ranks.end(), [](int32_t rank) { return rank == 1; }));
      }
    }
  }
}

TEST_CASE("blotching changes: votes, and the comparison of solutions") {
  CHECK(most_frequent_answer(std::vector<std::string>{"1+1=2", "1+1=3", "1+1=1+1=3"}) == "3");
  CHECK(most_frequent_answer(std::vector<std::string>{"1+1=2", "1+1=3"}) == "2");
  CHECK(comparison("5+4+3=3+9=12", "5+4+3=9+3=3+9=12") ==
        "  the whole solution\n    = 9+3  SUM 1->1\n    = 12  SUM 1->2\n"
        "  the model's\n    = 9+3  SUM 1->1\n    = 3+9  -\n"
        "    = 12  SUM 1->2\n");
}

TEST_CASE("blotching: metrics of shares and temperatures that are nearly alike have names of their own") {
  const BlotchingConfig own = own_of([](auto& c) {
    c.n_btokens = 3, c.blotch_p_min = 0.5, c.blotch_p_max = 0.502, c.eval_temperatures = {"0.5", "0.50000001"};
  });
  const BlotchLevels levels(own);
  const auto tokenizer = make_problem_tokenizer(levels.tokens());
  const RowFormat format(*tokenizer, levels, own);
  const std::vector<std::string> names = SolutionEvaluation(own, levels, format).names();
  CHECK(names.size() == 3 * 2 * 4);
  CHECK(std::set<std::string>(names.begin(), names.end()).size() == names.size());
  CHECK(names[0] == "correct_p_0.5_t_0.5");
  CHECK(names.back() == "generated_tokens_p_0.502_t_0.50000001");
}

}  // namespace engine::test::test_blotching_changes
