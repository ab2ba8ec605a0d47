// Lines of progress where there is no terminal.
#include <doctest/doctest.h>

#include <sstream>
#include <thread>

#include "core/files.h"
#include "tasks/reading_report.h"
#include "tests/temporary.h"
#include "training/progress.h"

namespace engine::test {

TEST_CASE("progress: a step is told where nothing was for a while, and no other") {
  const TemporaryFolder folder;
  const std::string file = (folder.path() / "out").string();
  std::FILE* const out = std::fopen(file.c_str(), "w");
  REQUIRE(out != nullptr);
  const auto silence = std::chrono::milliseconds(200);
  Progress progress(out, ProgressStyle::lines, 0, 10, silence);
  progress.show({.step = 1});
  std::this_thread::sleep_for(silence);
  progress.show({.step = 2});
  progress.show({.step = 3});
  progress.log({.step = 4});
  progress.show({.step = 5});
  std::fclose(out);
  const std::string text = read_text(file);
  CHECK(text.find("step 1/10") == std::string::npos);
  CHECK(text.find("step 2/10") == 0);
  CHECK(text.find("step 3/10") == std::string::npos);
  CHECK(text.find("step 4/10") != std::string::npos);
  CHECK(text.find("step 5/10") == std::string::npos);
}

TEST_CASE("progress: a step that is told after a long silence and is logged, too, has one line") {
  const TemporaryFolder folder;
  const std::string file = (folder.path() / "out").string();
  std::FILE* const out = std::fopen(file.c_str(), "w");
  REQUIRE(out != nullptr);
  // Every step comes after a silence.
  Progress progress(out, ProgressStyle::lines, 0, 20, std::chrono::milliseconds(0));
  for (const int64_t step : {10, 20, 20}) {  // after a rollback a step comes again
    progress.show({.step = step});
    progress.log({.step = step});
  }
  std::fclose(out);
  std::istringstream lines(read_text(file));
  std::vector<std::string> steps;
  for (std::string line; std::getline(lines, line);) steps.push_back(line.substr(0, line.find("  ")));
  CHECK(steps == std::vector<std::string>{"step 10/20", "step 20/20", "step 20/20"});
}

TEST_CASE("progress: the time to go is what the clock leaves where that is less") {
  const TemporaryFolder folder;
  const std::string file = (folder.path() / "out").string();
  std::FILE* const out = std::fopen(file.c_str(), "w");
  REQUIRE(out != nullptr);
  Progress progress(out, ProgressStyle::lines, 0, 1000000000);
  std::this_thread::sleep_for(std::chrono::milliseconds(1));
  progress.log({.step = 1, .seconds_left = 83});
  std::fclose(out);
  CHECK(read_text(file).find("  1:23 to go") != std::string::npos);
}

TEST_CASE("progress: half a minute is the longest silence of a training's first minutes") {
  CHECK(Progress::longest_silence == std::chrono::seconds(30));
  CHECK(Progress::first_minutes > std::chrono::minutes(4));
}

TEST_CASE("progress: reading that takes long is told after a while, and again after a longer one") {
  std::ostringstream out;
  ReadingReport report(out, "a.txt", std::chrono::milliseconds(100), std::chrono::hours(1));
  report.add(3);
  CHECK(out.str() == "");
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  report.add(4);
  report.add(5);
  CHECK(out.str() == "reading a.txt: 7 tokens so far\n");
}

}  // namespace engine::test
