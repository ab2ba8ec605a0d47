// Signals that end a training, as terminals, shells and batch systems send them.
#include "training/stop_signal.h"

#include <doctest/doctest.h>
#include <pty.h>

#include <array>
#include <csignal>

#include "tests/program.h"

namespace engine::test::test_stop_signal {

namespace {

const std::string long_training = "threads = 1\n" + small_scratchpad + R"([training]
batch_size = 4
max_steps = 1000000
log_every = 1
eval_every = 0
save_every = 0
)";

// Sets what the process does with a signal while this lives.
struct Disposition {
  int signal;
  void (*before)(int);
  Disposition(int signal_, void (*handler)(int)) : signal(signal_), before(std::signal(signal_, handler)) {}
  ~Disposition() { std::signal(signal, before); }
};

struct Training {
  Program program;
  std::vector<std::string> arguments{"train", program.write("task.cfg", long_training), "--output_dir",
                                     program.file("runs")};

  // Runs the program on a terminal that is lost once it has trained a step. Returns its exit code.
  int run_until_terminal_is_lost() {
    int terminal = -1;
    const pid_t child = forkpty(&terminal, nullptr, nullptr, nullptr);
    REQUIRE(child >= 0);
    if (child == 0) {
      std::signal(SIGHUP, SIG_DFL);  // which a run of these tests under nohup ignores
      const std::string path = program_path();
      std::vector<char*> argv{const_cast<char*>(path.c_str())};
      for (std::string& argument : arguments) argv.push_back(argument.data());
      argv.push_back(nullptr);
      execv(path.c_str(), argv.data());
      _exit(127);
    }
    std::string printed;
    std::array<char, 256> some;
    for (ssize_t size; printed.find("loss") == std::string::npos;) {
      REQUIRE_MESSAGE((size = ::read(terminal, some.data(), some.size())) > 0, printed);
      printed.append(some.data(), static_cast<size_t>(size));
    }
    close(terminal);
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  bool is_saved() const { return std::filesystem::exists(program.file("runs/run/state/progress.json")); }
};

}  // namespace

TEST_CASE("stop signal: every signal is noted, and actions are restored") {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) {
    CAPTURE(signal);
    const Disposition as_usual(signal, SIG_DFL);
    struct sigaction before {}, within {}, behind {};
    sigaction(signal, nullptr, &before);
    {
      StopSignal stop;
      CHECK_FALSE(stop.received());
      std::raise(signal);
      CHECK(stop.received());
      // A terminal's end is told several times, a user who repeats it means it.
      sigaction(signal, nullptr, &within);
      const bool is_repeated = signal == SIGHUP || signal == SIGPIPE;
      const bool is_default = within.sa_handler == SIG_DFL;
      CHECK(is_default == !is_repeated);
      if (is_repeated) std::raise(signal);
    }
    sigaction(signal, nullptr, &behind);
    const bool is_restored = before.sa_handler == behind.sa_handler;
    CHECK(is_restored);
    CHECK_FALSE(StopSignal().received());
  }
}

TEST_CASE("stop signal: SIGUSR1 is a wish to save, every time") {
  StopSignal stop;
  for (int time = 0; time < 2; ++time) {
    CHECK_FALSE(stop.take_save());
    std::raise(SIGUSR1);
    CHECK(stop.take_save());
  }
  CHECK_FALSE(stop.received());
}

TEST_CASE("stop signal: SIGHUP stays ignored under nohup") {
  for (const int signal : {SIGHUP, SIGPIPE}) {
    const Disposition ignored(signal, SIG_IGN);
    StopSignal stop;
    std::raise(signal);
    CHECK_FALSE(stop.received());
  }
}

TEST_CASE("stop signal: a training under nohup goes on after SIGHUP, until another signal ends it") {
  const Training training;
  const std::string log = training.program.file("log");
  const Ended ended = training.program.shell(
      "trap '' HUP; " + program_path() + " train " + training.arguments[1] + " --output_dir " + training.arguments[3] +
      " > " + log + " & trained=$!; steps() { grep -c loss " + log + "; }; "
      "until [ $(steps) -gt 0 ]; do sleep 0.05; done; kill -HUP $trained; sleep 0.1; before=$(steps); "
      "until [ $(steps) -gt $((before + 3)) ]; do sleep 0.05; kill -0 $trained || exit 1; done; "
      "kill -TERM $trained; wait $trained");
  CAPTURE(ended.error);
  CHECK(ended.code == 130);
  CHECK(training.is_saved());
}

TEST_CASE("stop signal: a training that loses its terminal saves and ends with 130") {
  Training training;
  CHECK(training.run_until_terminal_is_lost() == 130);
  CHECK(training.is_saved());
}

TEST_CASE("stop signal: a training whose output nobody reads any more saves and ends with 130") {
  const Training training;
  const Ended ended = training.program.shell(program_path() + " train " + training.arguments[1] + " --output_dir " +
                                             training.arguments[3] + " | head -n 1 > /dev/null; exit ${PIPESTATUS[0]}");
  CHECK(ended.code == 130);
  CHECK(training.is_saved());
}

}  // namespace engine::test::test_stop_signal
