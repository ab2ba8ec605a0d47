#include "commands/launch.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <set>

#include "commands/child.h"
#include "core/error.h"
#include "core/rank_place.h"
#include "core/sockets.h"

namespace engine {

namespace {

// These are passed on. A stop from the terminal stops the ranks, and this process with them.
constexpr std::array<int, 6> passed{SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};
constexpr double patience_seconds = 10;

// Gives rank `rank` of `ranks` its part of the processors that this process may use, where there are enough.
void take_processors(int rank, int ranks) {
  cpu_set_t all, own;
  if (sched_getaffinity(0, sizeof all, &all) != 0 || CPU_COUNT(&all) < ranks) return;
  CPU_ZERO(&own);
  const int count = CPU_COUNT(&all);
  for (int i = 0, seen = 0; i < CPU_SETSIZE; ++i) {
    if (!CPU_ISSET(i, &all)) continue;
    if (seen * ranks / count == rank) CPU_SET(i, &own);
    ++seen;
  }
  sched_setaffinity(0, sizeof own, &own);
}

class Launch {
 public:
  Launch(const std::vector<std::string>& arguments, int ranks) : arguments_(arguments), ranks_(ranks) {
    const Socket free = listen_at(0);
    if (!free) fail("no port is free for the ranks to find one another");
    port_ = port_of(free);
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : passed) sigaddset(&set, signal);
    for (const int signal : {SIGCHLD, SIGTSTP, SIGCONT}) sigaddset(&set, signal);
    sigprocmask(SIG_BLOCK, &set, &before_);
    waited_ = set;
  }

  int run() {
    for (int rank = 0; rank < ranks_; ++rank) start(rank);
    while (running() > 0) {
      if (seconds_left() <= 0) end_the_rest();
      const timespec limit{static_cast<time_t>(std::max(seconds_left(), 1.0)), 0};
      const int signal = sigtimedwait(&waited_, nullptr, &limit);
      if (std::find(passed.begin(), passed.end(), signal) != passed.end()) {
        is_stopped_ = is_stopped_ || signal == SIGINT || signal == SIGTERM || signal == SIGHUP;
        signal_all(signal);
      }
      if (signal == SIGTSTP) {
        signal_all(SIGSTOP);
        raise(SIGSTOP);
      }
      if (signal == SIGCONT) signal_all(SIGCONT);
      reap();
    }
    // Ranks that had nothing more to say to this one do not miss it.
    if (failed_by_signal_ && !others_failed_ && !is_killed_) say(first_failure_);
    return is_stopped_ && code_ != 0 ? 130 : code_;
  }

 private:
  using Clock = std::chrono::steady_clock;

  void start(int rank) {
    try {
      pids_.push_back(start_child(arguments_, SIGTERM, "rank " + std::to_string(rank), [&] { prepare(rank); }));
    } catch (const Error&) {
      signal_all(SIGKILL);
      throw;
    }
  }
  // Makes a child of this process the rank.
  void prepare(int rank) const {
    // The ranks are a group of their own, so that a signal from the terminal reaches them once, through this process.
    setpgid(0, rank == 0 ? 0 : pids_[0]);
    sigprocmask(SIG_SETMASK, &before_, nullptr);
    // A shell's background job ignores these, but this process passes them on.
    for (const int signal : {SIGINT, SIGQUIT}) std::signal(signal, SIG_DFL);
    const auto set = [](const char* name, int value) { setenv(name, std::to_string(value).c_str(), 1); };
    set("RANK", rank), set("LOCAL_RANK", rank), set("WORLD_SIZE", ranks_), set("LOCAL_WORLD_SIZE", ranks_);
    set("MASTER_PORT", port_);
    setenv("MASTER_ADDR", "127.0.0.1", 1);
    unsetenv("TORCHELASTIC_RUN_ID");
    if (const int nothing = rank > 0 ? open("/dev/null", O_RDONLY) : -1; nothing >= 0) dup2(nothing, 0);
    take_processors(rank, ranks_);
  }

  // Returns the seconds until the ranks that still run are killed. Where one has failed and the rest are stopped,
  // another rank has named these.
  double seconds_left() const {
    if (is_killed_) return 3600;
    const bool only_stopped = running() < ranks_ && running() == std::ssize(stopped_);
    if (failed_ && only_stopped) return 0;
    if (!failed_ && !only_stopped) return 3600;
    return patience_seconds - std::chrono::duration<double>(Clock::now() - failed_.value_or(last_end_)).count();
  }
  void end_the_rest() {
    if (!failed_) {
      const auto rank = std::find(pids_.begin(), pids_.end(), *stopped_.begin()) - pids_.begin();
      say("rank " + std::to_string(rank) + " of " + std::to_string(ranks_) + " is stopped, and all others have ended");
      code_ = 1;
    } else if (running() > std::ssize(stopped_)) {
      say(first_failure_ + ", and " + std::to_string(running()) + " others did not end by themselves");
    }
    signal_all(SIGKILL);
    is_killed_ = true;
  }
  static void say(const std::string& line) { std::cerr << "engine: " + line + "\n"; }
  int64_t running() const { return std::count_if(pids_.begin(), pids_.end(), [](pid_t pid) { return pid > 0; }); }
  void signal_all(int signal) const {
    for (const pid_t pid : pids_)
      if (pid > 0) kill(pid, signal);
  }
  void reap() {
    for (size_t rank = 0; rank < pids_.size(); ++rank) {
      int status = 0;
      if (pids_[rank] <= 0 || waitpid(pids_[rank], &status, WNOHANG | WUNTRACED | WCONTINUED) != pids_[rank]) continue;
      if (WIFSTOPPED(status)) stopped_.insert(pids_[rank]);
      if (WIFCONTINUED(status)) stopped_.erase(pids_[rank]);
      if (!WIFEXITED(status) && !WIFSIGNALED(status)) continue;
      stopped_.erase(pids_[rank]);
      pids_[rank] = 0;
      last_end_ = Clock::now();
      const bool by_signal = WIFSIGNALED(status);
      const int code = by_signal ? 1 : WEXITSTATUS(status);
      if (code == 0) continue;
      others_failed_ = failed_.has_value();
      if (failed_) continue;
      failed_ = Clock::now();
      failed_by_signal_ = by_signal;
      code_ = code;
      first_failure_ = "rank " + std::to_string(rank) + " of " + std::to_string(ranks_);
      if (by_signal) first_failure_.append(" was ended by signal ").append(std::to_string(WTERMSIG(status)));
      else first_failure_.append(" ended with code ").append(std::to_string(code));
    }
  }

  const std::vector<std::string>& arguments_;
  const int ranks_;
  int port_ = 0, code_ = 0;
  bool is_stopped_ = false;  // a signal to stop was passed on
  bool is_killed_ = false;   // those that did not end were killed
  bool failed_by_signal_ = false, others_failed_ = false;
  std::vector<pid_t> pids_;  // 0: has ended
  std::set<pid_t> stopped_;
  std::optional<Clock::time_point> failed_;
  Clock::time_point last_end_;
  std::string first_failure_;
  sigset_t before_, waited_;
};

}  // namespace

std::optional<int> take_ranks(std::vector<std::string>& arguments) {
  std::optional<int> ranks;
  for (size_t i = 0; i < arguments.size();) {
    const bool has_value = arguments[i].starts_with("--ranks=");
    if (!has_value && arguments[i] != "--ranks") {
      ++i;
      continue;
    }
    if (ranks) fail_usage("--ranks is given twice");
    if (!has_value && i + 1 == arguments.size()) fail_usage("--ranks: a number of ranks is missing");
    const std::string text = has_value ? arguments[i].substr(8) : arguments[i + 1];
    const auto begin = arguments.begin() + static_cast<ptrdiff_t>(i);
    arguments.erase(begin, begin + (has_value ? 1 : 2));
    const bool has_digits = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
    if (!has_digits || text.size() > 4 || std::atoi(text.c_str()) < 1 || std::atoi(text.c_str()) > 1024)
      fail_usage("--ranks is \"", text, "\": a whole number from 1 to 1024 is right");
    ranks = std::atoi(text.c_str());
  }
  if (!ranks) return ranks;
  const auto check = [](const char* name) {
    if (const char* const size = std::getenv(name); size && std::atoi(size) > 1)
      fail_usage("--ranks: this process is already one of ", size, " ranks, as the environment's ", name, " says");
  };
  for (const MpirunVariable& variable : mpirun_variables)
    if (variable.is_size) check(variable.name);
  check("WORLD_SIZE");
  return ranks;
}

int launch(const std::vector<std::string>& arguments, int ranks) { return Launch(arguments, ranks).run(); }

}  // namespace engine
