// These tests cover the ways of evaluating, and their metrics.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "tasks/scratchpad/evaluation.h"
#include "tests/task_settings.h"

namespace engine::test::test_scratchpad_modes {

TEST_CASE("scratchpad: exact matches over samples and batches, of all and of a level") {
  ExpressionPool pool;
  const auto* leaf = pool.make_leaf(1);
  const auto* one = pool.make_node('+', leaf, leaf);
  const auto* two = pool.make_node('+', one, leaf);
  std::vector<Answer> answers;
  for (const bool right : {true, true, false}) answers.push_back({.expression = one, .right = right, .whole = false});
  for (const bool right : {true, false, false}) answers.push_back({.expression = two, .right = right, .whole = right});
  const Levels levels{0, 3, 6};
  // The batches of 2 are right right | wrong right | wrong wrong.
  const Metrics help = match_metrics(Mode::help, answers, levels, 2);
  CHECK(metric(help, "EM_all_per_sample") == 0.5);
  CHECK(metric(help, "EM_all_per_batch") == (1 + 0.5 + 0) / 3);
  CHECK(metric(help, "EM_1_per_sample") == 2.0 / 3);
  CHECK(metric(help, "EM_1_per_batch") == 0.5);
  CHECK(metric(help, "EM_2_per_sample") == 1.0 / 3);
  CHECK(metric(help, "EM_2_per_batch") == 0.5);
  CHECK(metric(match_metrics(Mode::free, answers, levels, 2), "EM_freeform_all_per_sample") == 1.0 / 6);
  CHECK(metric(match_metrics(Mode::results, answers, levels, 2), "EM_results_all_per_sample") == 0.5);
  std::vector<std::string> names;
  for (const auto& [name, value] : help) names.push_back(name);
  CHECK(names == match_names(Mode::help, 2));
}

TEST_CASE("scratchpad: a trained decoder's answers in all ways, each on a line of predictions") {
  for (const std::string architecture : {"gpt2", "bart"}) {
    CAPTURE(architecture);
    TaskSettings settings(R"(
task = "scratchpad"
[model]
hidden_size = 64
num_layers = 2
num_heads = 2
max_positions = 48
initializer_range = 0.08
architecture = ")" + architecture + R"("
[training]
batch_size = 48
max_steps = 120
learning_rate = 4e-3
warmup_steps = 20
adam_beta2 = 0.98
eval_every = 0
save_every = 0
[scratchpad]
mixture = ["1:1"]
max_depth = 2
max_answer_length = 1
eval_quantity = 60
evaluation = ["free", "help", "results"]
)");
    const auto task = settings.task();
    CHECK(train_task(settings.config, settings.options, *task, settings.machine).exit_code() == 0);
    std::string samples;
    const Metrics metrics = task->evaluate(settings.machine, samples);
    const std::vector<std::string> names = task->metric_names();
    for (const auto& [name, value] : metrics) {
      CAPTURE(name);
      CHECK(0 <= value);
      if (!name.starts_with("inner")) CHECK(std::find(names.begin(), names.end(), name) != names.end());
    }
    CHECK(metrics.size() == names.size() + 1);  // and inner_accuracy_level_1
    // Given text can only help. In level 1 help gives the question, and results is the same as help.
    CHECK(metric(metrics, "exact_match") > 0.2);
    CHECK(metric(metrics, "EM_1_per_sample") >= metric(metrics, "exact_match_level_1"));
    CHECK(metric(metrics, "EM_1_per_sample") == metric(metrics, "EM_results_1_per_sample"));
    for (const char* part : {"--- free ---", "--- help ---", "--- results ---", "level 2 (not trained on)"})
      CHECK(samples.find(part) != std::string::npos);

    std::istringstream lines(read_text(settings.folder.path() / "run/predictions.jsonl"));
    std::map<std::string, int> right, count;
    for (std::string line; std::getline(lines, line);) {
      const nlohmann::json json = nlohmann::json::parse(line);
      const std::string key = json["mode"].get<std::string>() + std::to_string(json["level"].get<int>());
      ++count[key];
      right[key] += final_value(json["prediction"]) == final_value(json["label"]);
      if (json["mode"] == "help") CHECK(json["prediction"].get<std::string>().starts_with("("));
    }
    CHECK(count.size() == 6);
    for (const auto& [key, all] : count) CHECK(all == 60);
    CHECK(right["help1"] / 60.0 == doctest::Approx(metric(metrics, "EM_1_per_sample")));
    CHECK(right["results2"] / 60.0 == doctest::Approx(metric(metrics, "EM_results_2_per_sample")));
  }
}

}  // namespace engine::test::test_scratchpad_modes
