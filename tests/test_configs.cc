// Every configuration in configs/ and on a page runs a few steps as it stands, but for the files that the user brings.
#include <doctest/doctest.h>

#include <cmath>

#include "tasks/language_model.h"
#include "tests/config_files.h"
#include "tests/pages.h"

namespace engine::test::test_configs {

namespace {

// Trains two steps, evaluates the saved model alone, and reads the saved configuration again.
void check_trains(const std::string& text) {
  TaskSettings settings(text);
  CHECK(settings.config.name != "run");  // every configuration names its run
  adapt(settings);
  const auto task = settings.task();
  CHECK(train_task(settings.config, settings.options, *task, settings.machine).exit_code() == 0);
  const OpenedRun run = open_run(std::filesystem::path(settings.config.output_dir) / settings.config.name);
  CHECK(std::filesystem::exists(run.config));
  // The saved model is a whole one and can be evaluated alone.
  TaskSettings saved(read_text(run.config));
  saved.config.init = run.model.string();
  std::string samples;
  const Metrics metrics = saved.task(Use::evaluation)->evaluate(saved.machine, samples);
  CHECK_FALSE(metrics.empty());
  for (const auto& [metric, value] : metrics) CHECK(std::isfinite(value));
  CHECK_FALSE(samples.empty());
  // The saved configuration is complete and can be read again.
  TaskSettings resolved(read_text(run.config));
  CHECK(resolved.config.model.vocab_size == settings.config.model.vocab_size);
  CHECK(resolved.config.training.max_steps == 2);
}

}  // namespace

TEST_CASE("configs: each runs a few steps, saves a model and is evaluated") {
  const int count = each_config([](const std::filesystem::path& path) {
    CAPTURE(path.string());
    check_trains(read_text(path));
  });
  CHECK(count >= 9);
}

TEST_CASE("configs: those on the pages do so, too") {
  int count = 0;
  for (const Page& page : all_pages())
    for (const std::string& text : configurations_of(page.text)) {
      CAPTURE(page.path.string());
      CAPTURE(text);
      check_trains(text);
      ++count;
    }
  CHECK(count >= 7);
}

}  // namespace engine::test::test_configs
