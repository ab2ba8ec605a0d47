// A random rank of a training is killed or stopped at a random time, again and again.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <sstream>
#include <thread>

#include "core/random.h"
#include "tests/program.h"
#include "tests/quick_place.h"
#include "tests/same_run.h"

namespace engine::test::test_killed_ranks {

namespace {

using Clock = std::chrono::steady_clock;

constexpr double timeout_seconds = 2;
// Machines are busy, and ranks that have not all met are ended by the launcher, which gives them ten seconds.
constexpr double most_seconds = timeout_seconds + 10, most_seconds_of_meeting = 16;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }
double real(Random& random) { return static_cast<double>(random.uniform()); }

struct Strike {
  int signal = 0, rank = 0;
  double after = 1e9;  // seconds from the start
};

struct Outcome {
  bool was_struck = false;
  int code = -1;
  double seconds = 0;  // from the strike to the end of all
  std::string error;
};

class Trainings {
 public:
  Trainings() { write_file(folder_.path() / "task.cfg", small_scratchpad + R"([training]
batch_size = 8
max_steps = 60
scheduler = "constant"
log_every = 3
eval_every = 20
save_every = 1
)"); }

  // Trains with so many ranks, one of which the strike hits, unless all have ended before.
  Outcome train(const std::string& folder, int ranks, bool in_shards, const Strike& strike) const {
    const pid_t launcher = start(folder, ranks, in_shards);
    REQUIRE(launcher > 0);
    const Clock::time_point begin = Clock::now();
    Clock::time_point struck = begin;
    Outcome outcome;
    int status = 0;
    while (waitpid(launcher, &status, WNOHANG) == 0) {
      if (!outcome.was_struck && seconds_since(begin) > strike.after) {
        const pid_t rank = pid_of_rank(launcher, strike.rank);
        outcome.was_struck = rank > 0 && kill(rank, strike.signal) == 0;
        struck = Clock::now();
      }
      std::this_thread::sleep_for(std::chrono::microseconds(500));
    }
    outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    if (outcome.was_struck) outcome.seconds = seconds_since(struck);
    outcome.error = read_text(error());
    return outcome;
  }
  std::map<std::string, std::string> contents(const std::string& folder) const {
    std::map<std::string, std::string> contents = contents_of(path(folder) / "run");
    for (const char* const file : {"task.cfg", "state/task.cfg"}) contents.erase(file);  // hold the folder's name
    return contents;
  }
  std::filesystem::path path(const std::string& folder) const { return folder_.path() / folder; }

 private:
  std::string error() const { return path("error").string(); }

  pid_t start(const std::string& folder, int ranks, bool in_shards) const {
    std::ostringstream command;
    command << "ENGINE_START_TIMEOUT=5 exec " << program_path() << " train " << path("task.cfg").string()
            << " --output_dir " << path(folder).string() << " --ranks " << ranks
            << " --threads 1 --communication_timeout " << timeout_seconds
            << (in_shards ? " --training.reduction_shards 4" : "") << " > /dev/null 2> " << error();
    const std::string text = command.str();
    const pid_t child = fork();
    if (child != 0) return child;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    execl("/bin/sh", "sh", "-c", text.c_str(), static_cast<char*>(nullptr));
    _exit(127);
  }
  // Returns 0 where the rank has not been started, or has ended.
  static pid_t pid_of_rank(pid_t launcher, int rank) {
    const std::string process = "/proc/" + std::to_string(launcher);
    std::istringstream children(text_of(process + "/task/" + std::to_string(launcher) + "/children"));
    const std::string wanted = std::string("\0RANK=", 6) + std::to_string(rank) + '\0';
    for (pid_t child = 0; children >> child;)
      if (text_of("/proc/" + std::to_string(child) + "/environ").find(wanted) != std::string::npos) return child;
    return 0;
  }
  // Returns nothing where the process is gone.
  static std::string text_of(const std::string& file) {
    try {
      return read_text(file);
    } catch (const Error&) {
      return "";
    }
  }

  TemporaryFolder folder_{quick_place()};
};

// Checks that one line names the rank and says what happened, or that the training ended before that mattered.
void check_end(const Outcome& outcome, int ranks, const Strike& strike) {
  CAPTURE(outcome.error);
  const bool by_launcher = outcome.error.find("others did not end by themselves") != std::string::npos;
  CHECK(outcome.seconds < (by_launcher ? most_seconds_of_meeting : most_seconds));
  if (outcome.code == 0) {
    CHECK(outcome.error == "");
    return;
  }
  CHECK(outcome.code == 1);
  // Before they have met, ranks know of none but the first, and cannot agree on who speaks.
  const bool none_met = outcome.error.find("did not answer within 5 s") != std::string::npos;
  if (strike.signal == SIGSTOP && strike.rank == 0 && none_met) {
    std::istringstream lines(outcome.error);
    for (std::string line; std::getline(lines, line);) CHECK(line.find(": rank 0 at 127.0.0.1:") != std::string::npos);
    return;
  }
  CHECK(outcome.error.starts_with("engine: rank " + std::to_string(strike.rank)));
  CHECK(std::count(outcome.error.begin(), outcome.error.end(), '\n') == 1);
  const std::string of_all = " of " + std::to_string(ranks) + " ";
  const bool is_killed = strike.signal == SIGKILL;
  const std::vector<std::string> right{of_all + "did not come within 5 s",  // struck before all had met
                                       of_all + "has not answered for 5 s",  // or before they knew the configuration
                                       of_all + (is_killed ? "ended without a word" : "has not answered for 2 s"),
                                       of_all + (is_killed ? "was ended by signal 9" : "is stopped")};
  CHECK(std::any_of(right.begin(), right.end(), [&](const std::string& text) {
    return outcome.error.find(text) != std::string::npos;
  }));
}

}  // namespace

TEST_CASE("killed ranks: all end soon with one line that names the rank, and the state goes on to the same bits") {
  const Trainings trainings;
  const auto seed = static_cast<uint64_t>(Clock::now().time_since_epoch().count());
  CAPTURE(seed);
  Random random(seed, 0);
  // Two ranks, four ranks, and either in turn, which are the same with virtual shards.
  std::array<std::map<std::string, std::string>, 3> wholes;
  std::array<double, 3> lengths{};
  const char* const wanted_text = std::getenv("ENGINE_TEST_RANK_KILLS");  // `make rank-kill-test` wants a hundred
  const int wanted = wanted_text ? std::atoi(wanted_text) : 6;
  int killed = 0, stopped = 0, late = 0, with_state = 0;
  double longest_killed = 0, longest_stopped = 0;
  for (size_t cycle = 0; killed + stopped < wanted; ++cycle) {
    const size_t kind = wanted < 10 ? 2 : cycle % 3;
    const bool in_shards = kind == 2;
    const auto ranks_now = [&] { return kind == 0 || (in_shards && random.below(2) == 0) ? 2 : 4; };
    if (lengths[kind] == 0) {
      const std::string name = "whole" + std::to_string(kind);
      const Clock::time_point begin = Clock::now();
      REQUIRE(trainings.train(name, ranks_now(), in_shards, {}).code == 0);
      lengths[kind] = seconds_since(begin);
      wholes[kind] = trainings.contents(name);
    }
    const std::string name = "killed" + std::to_string(cycle);
    // Lives grow longer, so that the last one reaches the end on any machine.
    for (double shortest = 0;; shortest += 0.05) {
      const int ranks = ranks_now();
      const double life = lengths[kind] * (shortest + 0.5 * real(random));
      const Strike strike{.signal = random.below(2) ? SIGKILL : SIGSTOP,
                          .rank = static_cast<int>(random.below(static_cast<uint32_t>(ranks))),
                          .after = killed + stopped < wanted ? life : 1e9};
      CAPTURE(strike.signal);
      CAPTURE(strike.after);
      const Outcome outcome = trainings.train(name, ranks, in_shards, strike);
      if (outcome.was_struck) {
        check_end(outcome, ranks, strike);
        ++(strike.signal == SIGKILL ? killed : stopped);
        double& longest = strike.signal == SIGKILL ? longest_killed : longest_stopped;
        longest = std::max(longest, outcome.seconds);
        if (outcome.code == 0) ++late;
        if (std::filesystem::exists(trainings.path(name) / "run/state/progress.json")) ++with_state;
      }
      if (outcome.code == 0) break;
      if (!outcome.was_struck) FAIL("a training that nothing happened to failed: ", outcome.error);
    }
    CHECK(difference_of(wholes[kind], trainings.contents(name)) == "");
    std::filesystem::remove_all(trainings.path(name));
  }
  MESSAGE(killed, " killed, all ended ", longest_killed, " s later at the most; ", stopped, " stopped, ",
          longest_stopped, " s; ", with_state, " with a state to go on from, ", late, " at the end");
}

}  // namespace engine::test::test_killed_ranks
