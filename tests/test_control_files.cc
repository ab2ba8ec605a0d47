// Files and signals make a running training do something.
#include <doctest/doctest.h>

#include <chrono>
#include <csignal>

#include "tests/temporary.h"
#include "tests/training_task.h"

namespace engine::test::test_control_files {

namespace {

bool is_there(const std::filesystem::path& path) { return std::filesystem::exists(path); }

// Returns what the training in `config` does if `ask` runs in its sixth step.
Outcome train_and_ask(const Config& config, const std::function<void()>& ask) {
  return train_tiny(config, [&](TinyTask& task) {
    task.before_step = [&](int64_t step) {
      if (step == 5) ask();
    };
  });
}

}  // namespace

TEST_CASE("control files: stop saves and ends with 0, and the run goes on from there") {
  const TemporaryFolder folder(quick_place());
  const std::vector<float> whole = train_tiny(tiny_config(folder.path(), "whole")).values;
  const Config config = tiny_config(folder.path(), "run");
  const std::filesystem::path run = folder.path() / "run";
  const Outcome stopped = train_and_ask(config, [&] { write_file(run / "stop", ""); });
  CHECK(stopped.exit_code == 0);
  CHECK(stopped.printed.find("stopped at step 6: the same command goes on from there") != std::string::npos);
  CHECK_FALSE(is_there(run / "stop"));
  const Outcome again = train_tiny(config);
  CHECK(again.printed.find("on from step 6") != std::string::npos);
  CHECK(again.values == whole);
}

TEST_CASE("control files: stop_now ends without saving") {
  const TemporaryFolder folder(quick_place());
  Config config = tiny_config(folder.path(), "run");
  config.training.save_every = 4;
  const std::filesystem::path run = folder.path() / "run";
  const Outcome stopped = train_and_ask(config, [&] { write_file(run / "stop_now", ""); });
  CHECK(stopped.exit_code == 0);
  CHECK(stopped.printed.find("stopped at step 6 without saving") != std::string::npos);
  CHECK_FALSE(is_there(run / "stop_now"));
  CHECK(read_progress(run / "state").step == 4);
  CHECK(train_tiny(config).values == train_tiny(tiny_config(folder.path(), "whole")).values);
}

TEST_CASE("control files: save_checkpoint and SIGUSR1 save and go on, once each") {
  const TemporaryFolder folder(quick_place());
  const std::vector<float> whole = train_tiny(tiny_config(folder.path(), "whole")).values;
  for (const bool by_signal : {false, true}) {
    Config config = tiny_config(folder.path(), by_signal ? "signal" : "file");
    config.training.keep_checkpoints = 5;
    const std::filesystem::path run = folder.path() / config.name;
    const Outcome outcome = train_and_ask(config, [&] {
      if (by_signal) std::raise(SIGUSR1);
      else write_file(run / "save_checkpoint", "");
    });
    CHECK(outcome.exit_code == 0);
    CHECK(outcome.values == whole);
    CHECK(outcome.printed.find("saved at step 6\n") != std::string::npos);
    CHECK(outcome.printed.find("saved at step 7") == std::string::npos);
    CHECK_FALSE(is_there(run / "save_checkpoint"));
    CHECK(is_there(run / "checkpoint-6"));
    CHECK_FALSE(is_there(run / "checkpoint-7"));
  }
}

TEST_CASE("control files: a new beginning removes what was asked of the old run") {
  const TemporaryFolder folder(quick_place());
  Config config = tiny_config(folder.path(), "run");
  std::filesystem::create_directories(folder.path() / "run");
  for (const char* name : {"stop", "stop_now", "save_checkpoint"}) write_file(folder.path() / "run" / name, "");
  config.resume = false;
  const Outcome outcome = train_tiny(config);
  CHECK(outcome.printed.find("stopped") == std::string::npos);
  CHECK(outcome.printed.find("saved at") == std::string::npos);
  CHECK(read_progress(folder.path() / "run/state").step == 12);
}

TEST_CASE("control files: those from before the program began are removed with a notice, later ones obeyed") {
  const TemporaryFolder folder(quick_place());
  const Config config = tiny_config(folder.path(), "run");
  const std::filesystem::path run = folder.path() / "run";
  std::filesystem::create_directories(run);
  const auto write_old = [&](const char* name) {
    write_file(run / name, "");
    const auto now = std::filesystem::file_time_type::clock::now();
    std::filesystem::last_write_time(run / name, now - std::chrono::hours(24));
  };
  for (const char* name : {"stop", "stop_now", "save_checkpoint"}) write_old(name);
  const Outcome whole = train_tiny(config);
  for (const char* name : {"stop", "stop_now", "save_checkpoint"}) {
    CHECK(whole.printed.find("removed " + (run / name).string() + ", which was there before") != std::string::npos);
    CHECK_FALSE(is_there(run / name));
  }
  CHECK(read_progress(run / "state").step == 12);

  std::filesystem::remove_all(run / "state");
  write_old("stop_now");
  write_file(run / "stop", "");  // while this training reads its data
  const Outcome stopped = train_tiny(config);
  CHECK(stopped.printed.find("removed " + (run / "stop_now").string()) != std::string::npos);
  CHECK(stopped.printed.find("stopped at step 1: ") != std::string::npos);
}

TEST_CASE("control files: one that cannot be removed is an error, not obeyed for ever") {
  const TemporaryFolder folder(quick_place());
  std::filesystem::create_directories(folder.path() / "run/save_checkpoint");
  CHECK_THROWS_WITH_AS(train_tiny(tiny_config(folder.path(), "run")),
                       doctest::Contains("cannot remove the control file"), Error);
}

}  // namespace engine::test::test_control_files
