// A training that is stopped, killed or broken off goes on.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "tests/same_run.h"
#include "tests/temporary.h"
#include "tests/training_task.h"

namespace engine::test::test_resume {

namespace {

Config long_config(const std::filesystem::path& folder, const std::string& name) {
  Config config = tiny_config(folder, name);
  config.training.max_steps = 40;
  config.training.log_every = 3;
  config.training.eval_every = 5;
  config.training.save_every = 1;
  config.training.keep_checkpoints = 2;
  return config;
}

void check_same_run(const std::filesystem::path& a, const std::filesystem::path& b) {
  auto one = contents_of(a), other = contents_of(b);
  for (const char* file : {"task.cfg", "state/task.cfg"})  // hold the run's name
    for (auto* contents : {&one, &other}) CHECK(contents->erase(file) == 1);
  CHECK(difference_of(one, other) == "");
}

pid_t start_run(const std::filesystem::path& folder, const char* name) {
  const pid_t child = fork();
  if (child != 0) return child;
  setenv("ENGINE_TEST_FOLDER", folder.c_str(), 1);
  setenv("ENGINE_TEST_RUN", name, 1);
  if (dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO) < 0) _exit(1);
  execl("/proc/self/exe", "run", "--test-case=resume: a run to be killed", "--no-skip", static_cast<char*>(nullptr));
  _exit(1);
}

// Runs the test case "resume: a run to be killed" in a process of its own, for `life` seconds at most. Returns true if
// it has come to its end.
bool run_for(double life, const std::filesystem::path& folder, const char* name) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(life);
  const pid_t child = start_run(folder, name);
  REQUIRE(child > 0);
  int status = 0;
  pid_t done = 0;
  while ((done = waitpid(child, &status, WNOHANG)) == 0 && std::chrono::steady_clock::now() < end)
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  if (done == 0) {
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
  }
  if (WIFEXITED(status)) REQUIRE(WEXITSTATUS(status) == 0);
  return WIFEXITED(status);
}

}  // namespace

TEST_CASE("resume: a run to be killed" * doctest::skip()) {
  const char *folder = std::getenv("ENGINE_TEST_FOLDER"), *name = std::getenv("ENGINE_TEST_RUN");
  if (!folder || !name) return;
  CHECK(train_tiny(long_config(folder, name)).exit_code == 0);
}

TEST_CASE("resume: killed at any moment, a run ends with the same bits and the same log") {
  const TemporaryFolder folder(quick_place());
  const auto start = std::chrono::steady_clock::now();
  REQUIRE(run_for(1e9, folder.path(), "whole"));
  const double whole = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  Random random(static_cast<uint64_t>(start.time_since_epoch().count()), 0);
  // `make kill-test` wants a thousand.
  const char* const wanted = std::getenv("ENGINE_TEST_KILLS");
  const int wanted_kills = wanted ? std::atoi(wanted) : 30;
  int kills = 0, kills_with_state = 0;
  for (int cycle = 0; kills_with_state < wanted_kills; ++cycle) {
    REQUIRE(cycle <= wanted_kills);
    const std::string name = "killed" + std::to_string(cycle);
    // Lives grow longer, so that the last one reaches the end on any machine.
    double shortest = 0;
    while (!run_for(whole * (shortest + 0.5 * static_cast<double>(random.uniform())), folder.path(), name.c_str())) {
      shortest += 0.02;
      ++kills;
      if (has_state(folder.path() / name / "state")) ++kills_with_state;
    }
    check_same_run(folder.path() / "whole", folder.path() / name);
    std::filesystem::remove_all(folder.path() / name);
  }
  MESSAGE("killed ", kills, " times, ", kills_with_state, " of them with a state to go on from");
}

TEST_CASE("resume: SIGINT and SIGTERM save and stop with 130, and the run goes on as if nothing had been") {
  const TemporaryFolder folder(quick_place());
  train_tiny(long_config(folder.path(), "whole"));
  Config config = long_config(folder.path(), "stopped");
  for (const int signal : {SIGINT, SIGTERM}) {
    const int64_t at = signal == SIGINT ? 10 : 29;
    const Outcome outcome = train_tiny(config, [&](TinyTask& task) {
      task.before_step = [&, at](int64_t step) {
        if (step == at) std::raise(signal);
      };
    });
    CHECK(outcome.exit_code == 130);
    CHECK(outcome.printed.find("stopped at step " + std::to_string(at + 1)) != std::string::npos);
  }
  CHECK(train_tiny(config).exit_code == 0);
  // The stops made checkpoints of their own, which the later ones replaced.
  check_same_run(folder.path() / "whole", folder.path() / "stopped");
}

TEST_CASE("resume: a longer run goes on from a shorter one; a finished one says how to go on") {
  const TemporaryFolder folder(quick_place());
  Config config = tiny_config(folder.path(), "short");
  config.training.scheduler = "constant";
  const Outcome finished = train_tiny(config);
  CHECK(train_tiny(config).printed.find("has finished, at step 12: raise training.max_steps") != std::string::npos);
  config.training.max_steps = 20;
  const Outcome longer = train_tiny(config);
  CHECK(longer.printed.find("on from step 12") != std::string::npos);
  config.name = "long";
  const Outcome whole = train_tiny(config);
  CHECK(longer.values == whole.values);
  config.resume = false;
  config.seed = 2;
  const Outcome anew = train_tiny(config);
  CHECK(anew.printed.find("on from step") == std::string::npos);
  CHECK(anew.values != whole.values);
  CHECK(timeless_log(folder.path() / "long") != timeless_log(folder.path() / "short"));
}

TEST_CASE("resume: a changed option is named, unless it leaves the training as it is") {
  const TemporaryFolder folder(quick_place());
  Config config = tiny_config(folder.path(), "run");
  train_tiny(config);
  config.training.max_steps = 14;
  config.threads = 1;
  config.training.log_every = 1;
  CHECK(train_tiny(config).exit_code == 0);
  config.training.max_steps = 16;
  Config changed = config;
  changed.training.learning_rate = 1e-4f;
  CHECK_THROWS_WITH_AS(train_tiny(changed), doctest::Contains("training.learning_rate = 0.003; now it is 1e-04"),
                       UsageError);
  changed = config;
  changed.seed = 2;
  CHECK_THROWS_WITH_AS(train_tiny(changed), doctest::Contains("seed = 1; now it is 2"), UsageError);
}

TEST_CASE("resume: a state tells the data that it was made with, and refuses others") {
  const TemporaryFolder folder(quick_place());
  Config config = tiny_config(folder.path(), "run");
  const std::unique_ptr<Ops> ops = make_cpu_ops();
  TinyTask task(config, *ops);
  const Optimizer optimizer(*ops, task.parameters(), config.training, DType::f32);
  const std::filesystem::path state = folder.path() / "state";
  save_state(state, {task.parameters(), optimizer.state()}, {}, "", "tokenizer 1, train data of 7 tokens");
  check_same_data(state, "tokenizer 1, train data of 7 tokens");
  CHECK_THROWS_WITH_AS(check_same_data(state, "tokenizer 2, train data of 7 tokens"),
                       doctest::Contains("then tokenizer 1, train data of 7 tokens; now tokenizer 2, train"),
                       UsageError);
  save_state(state, {task.parameters(), optimizer.state()}, {}, "");
  check_same_data(state, "any");  // a state of an older version
}

TEST_CASE("resume: a run does not go on with other data") {
  const TemporaryFolder folder(quick_place());
  Config config = tiny_config(folder.path(), "run");
  train_tiny(config);
  config.training.max_steps = 14;
  CHECK_THROWS_WITH_AS(train_tiny(config, [](TinyTask& task) { task.data = "another text"; }),
                       doctest::Contains("then one fixed text; now another text"), UsageError);
  CHECK(train_tiny(config).exit_code == 0);
}

TEST_CASE("resume: a damaged state is refused and named; torn and foreign ends of the log are cut off") {
  const TemporaryFolder folder(quick_place());
  Config config = long_config(folder.path(), "run");
  const std::filesystem::path run = folder.path() / "run";
  train_tiny(config);
  const std::string log = read_text(run / "metrics.jsonl");
  config.training.max_steps = 44;
  const std::filesystem::path tensors_file = run / "state/tensors.safetensors";
  const std::filesystem::path progress_file = run / "state/progress.json";
  const std::string tensors = read_text(tensors_file), progress = read_text(progress_file);
  for (const size_t size : {size_t{0}, size_t{5}, size_t{100}, tensors.size() - 1}) {
    write_file(tensors_file, tensors.substr(0, size));
    CHECK_THROWS_WITH_AS(train_tiny(config), doctest::Contains("tensors.safetensors"), Error);
  }
  write_file(tensors_file, tensors);
  for (const char* damaged : {"", "{", "{}", "{\"step\": -1}", "[]"}) {
    write_file(progress_file, damaged);
    CHECK_THROWS_WITH_AS(train_tiny(config), doctest::Contains("progress.json"), Error);
  }
  write_file(progress_file, progress);
  write_file(run / "metrics.jsonl", log + "{\"step\": 41, \"split\": \"train\"}\n{\"step\": 4");
  CHECK(train_tiny(config).exit_code == 0);
  const std::string longer = read_text(run / "metrics.jsonl");
  CHECK(longer.starts_with(log + "{\"step\":42,"));
  CHECK(longer.ends_with("}\n"));
}

}  // namespace engine::test::test_resume
