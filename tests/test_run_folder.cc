// The names in a run folder, and the names that a run may have.
#include <doctest/doctest.h>

#include "core/error.h"
#include "core/files.h"
#include "tests/temporary.h"
#include "training/run_folder.h"

namespace engine::test::test_run_folder {

namespace fs = std::filesystem;

TEST_CASE("run folder: a run's name is the name of one folder in output_dir") {
  Config config;
  config.output_dir = "runs";
  for (const char* name : {"first", "a name", "..a", ".hidden", "é"}) {
    config.name = name;
    CHECK(RunFolder::of(config).path() == fs::path("runs") / name);
  }
  config.name = std::string(255, 'n');
  CHECK(RunFolder::of(config).path().filename() == config.name);
  const std::pair<std::string, const char*> wrong[] = {
      {"", "the run has no name"},
      {"..", "name is \"..\": it is the name of one folder in output_dir"},
      {".", "name is \".\""},
      {"../other", "name is \"../other\""},
      {"a/b", "name is \"a/b\""},
      {"/tmp/a", "name is \"/tmp/a\""},
      {"a/", "name is \"a/\""},
      {" ", "name is \" \": it is the name of one folder in output_dir"},
      {"a ", "no space at an end"},
      {"-x", "name is \"-x\""},
      {"*", "It has none of / \\ * ? \" < > | in it"},
      {"a\"b", "name is \"a\"b\""},
      {"a\nb", "name holds a control character"},
      {std::string("a\0b", 3), "name holds a control character"},
      {std::string(256, 'n'), "name has 256 bytes, a folder's name has at most 255"},
  };
  for (const auto& [name, error] : wrong) {
    CAPTURE(name);
    config.name = name;
    CHECK_THROWS_WITH_AS(RunFolder::of(config), doctest::Contains(error), UsageError);
  }
}

TEST_CASE("run folder: the run around a model folder, also where a killed writer left it aside") {
  const TemporaryFolder folder;
  const RunFolder run(folder.path());
  for (const char* name : {"best", "last", ".best.old", "other"}) fs::create_directories(folder.path() / name);
  CHECK(RunFolder::around(run.best()).path().empty());  // no task.cfg
  write_file(run.config(), "");
  for (const char* name : {"best", "last", ".best.old"})
    CHECK(RunFolder::around(folder.path() / name).path() == fs::absolute(folder.path()).lexically_normal());
  CHECK(RunFolder::around(folder.path() / "other").path().empty());
}

TEST_CASE("run folder: the state goes first, then all else that a training wrote") {
  const TemporaryFolder folder;
  const RunFolder run(folder.path());
  for (const fs::path& path : {run.best(), run.last(), run.samples(), run.state(), run.cache(), run.checkpoint(4),
                               run.checkpoint(12), folder.path() / ".state.old", folder.path() / ".last.writing"})
    fs::create_directories(path);
  for (const fs::path& path : {run.config(), run.metrics(), run.predictions(), run.stop(), run.stop_now(),
                               run.save_checkpoint(), run.events(7), folder.path() / "notes"})
    write_file(path, "");
  const std::vector<fs::path> written = run.written();
  REQUIRE(written.size() == 14);
  CHECK(written[0] == folder.path() / ".state.old");
  CHECK(written[1] == run.state());
  for (const fs::path& kept : {run.config(), run.cache(), folder.path() / "notes"})
    CHECK(std::find(written.begin(), written.end(), kept) == written.end());
  CHECK(run.checkpoints() == std::vector<int64_t>{12, 4});
}

}  // namespace engine::test::test_run_folder
