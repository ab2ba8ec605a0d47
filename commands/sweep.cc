// sweep: trains a task with many choices of its options, several at once, each in a process of its own.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "commands/child.h"
#include "commands/sweep_gpus.h"
#include "commands/sweep_results.h"
#include "commands/verb.h"
#include "core/error.h"
#include "core/files.h"
#include "core/folders.h"
#include "core/parallel.h"
#include "kernels/backend/backend.h"
#include "report/metrics_file.h"
#include "training/append.h"
#include "training/run_folder.h"
#include "training/stop_signal.h"

namespace engine {

namespace {

namespace fs = std::filesystem;

// Starts this program with these arguments and all output in a file. It ends with the process that started it. `gpu` is
// empty, or what CUDA_VISIBLE_DEVICES is for it.
pid_t start_training(const std::vector<std::string>& arguments, const fs::path& log, const std::string& gpu) {
  const int out = open_to_append(log);
  const pid_t child = start_child(arguments, SIGKILL, "a training", [&] {
    setpgid(0, 0);  // Ctrl-C reaches the sweep alone, which ends its trainings
    dup2(out, 1);
    dup2(out, 2);
    if (!gpu.empty()) setenv("CUDA_VISIBLE_DEVICES", gpu.c_str(), 1);
  });
  close(out);
  return child;
}

// The line of error that a training ended with.
std::string error_in(const fs::path& log, int status) {
  const std::string text = fs::is_regular_file(log) ? read_text(log) : "";
  const std::string begin = "engine: ";
  size_t at = text.rfind("\n" + begin);
  if (at == std::string::npos && text.starts_with(begin)) at = 0;
  if (WIFEXITED(status) && at != std::string::npos) {
    const size_t from = text.find(begin, at) + begin.size();
    return text.substr(from, text.find('\n', from) - from);
  }
  if (WIFSIGNALED(status)) return "ended by signal " + std::to_string(WTERMSIG(status));
  return "ended with code " + std::to_string(WEXITSTATUS(status));
}

class Sweep {
 public:
  explicit Sweep(SweepPlan plan)
      : plan_(std::move(plan)), rungs_(plan_.rungs()), folder_(fs::path(plan_.output_dir) / plan_.name) {
    const std::vector<SweepPoint> points = plan_.points();
    const size_t digits = std::max<size_t>(3, std::to_string(points.size()).size());
    for (size_t i = 0; i < points.size(); ++i) {
      std::string number = std::to_string(i + 1);
      number.insert(0, digits - number.size(), '0');
      for (size_t s = 0; s < std::max<size_t>(plan_.seeds.size(), 1); ++s) {
        SweepTrial& trial = results_.trials.emplace_back();
        trial.name = "trial_" + number + (plan_.seeds.size() > 1 ? "_seed_" + plan_.seeds[s] : "");
        trial.options = points[i];
        trial.point = i;
        if (!plan_.seeds.empty()) trial.options.emplace_back("seed", plan_.seeds[s]);
      }
    }
  }

  int run(bool tries_failed_again) {
    if (plan_.gpus) gpus_ = gpus_of_sweep(plan_.gpus, std::getenv("CUDA_VISIBLE_DEVICES"), gpu_count());
    begin(tries_failed_again);
    for (size_t rung = 0; rung < rungs_.size(); ++rung) {
      std::vector<SweepTrial*> due;
      for (SweepTrial& trial : results_.trials)
        if (trial.state == "waiting" && trial.values.size() <= rung) due.push_back(&trial);
        else if (trial.state == "waiting" && rung + 1 == rungs_.size()) trial.state = "done";
      if (!run_all(due, rung)) return std::cout << "stopped: the same command goes on from there\n", 130;
      if (rung + 1 < rungs_.size()) drop_the_worse(rung);
    }
    write_results(folder_, results_);
    std::cout << '\n' << results_markdown(results_) << "\nThe table is in " << folder_.table().string()
              << "; engine report " << folder_.path().string() << " makes a page of it\n";
    return results_.best() ? 0 : 1;
  }

 private:
  struct Running {
    pid_t process;
    SweepTrial* trial;
    size_t slot;
  };

  void begin(bool tries_failed_again) {
    make_folders(folder_.path());
    const std::string text = plan_.text();
    if (fs::exists(folder_.config()) && read_text(folder_.config()) != text)
      fail_usage(folder_.path().string(), " holds a sweep with other points, options or another task.cfg: give ",
                 "this one another name, or remove that folder");
    write_file(folder_.config(), text);
    read_results(folder_, results_);
    size_t done = 0;
    for (SweepTrial& trial : results_.trials) {
      if (tries_failed_again && trial.state == "failed") {
        trial.state = "waiting";
        trial.error.clear();
      }
      done += trial.has_value() || trial.state == "failed";
    }
    std::cout << "sweep " << folder_.path().string() << ": " << results_.trials.size() << " trainings, "
              << plan_.parallel << " at once" << (done ? ", " + std::to_string(done) + " were run before" : "")
              << std::endl;
  }

  std::vector<std::string> arguments_of(const SweepTrial& trial, size_t rung, int64_t threads) const {
    std::vector<std::string> arguments{"train", plan_.task};
    const auto add = [&](const std::string& option, const std::string& value) {
      arguments.push_back("--" + option + "=" + value);
    };
    for (const auto& [option, value] : plan_.set) add(option, value);
    for (const auto& [option, value] : trial.options) add(option, value);
    if (rungs_[rung] > 0) add("training.max_steps", std::to_string(rungs_[rung]));
    if (!plan_.metric.empty()) add("training.best_metric", plan_.metric);
    add("output_dir", folder_.path().string());
    add("name", trial.name);
    add("threads", std::to_string(threads));
    add("progress", "lines");
    return arguments;
  }

  // Trains all of them for this rung. Returns false where a signal ended the sweep.
  bool run_all(const std::vector<SweepTrial*>& due, size_t rung) {
    StopSignal stop;
    const int64_t threads = plan_.threads ? plan_.threads
                                          : std::max<int64_t>(1, processors_of_each(1) / plan_.parallel);
    std::vector<Running> running;
    std::vector<bool> is_busy(static_cast<size_t>(plan_.parallel));
    size_t next = 0;
    bool is_told = false;
    while (next < due.size() || !running.empty()) {
      while (next < due.size() && running.size() < is_busy.size() && !stop.received()) {
        const auto slot = static_cast<size_t>(std::find(is_busy.begin(), is_busy.end(), false) - is_busy.begin());
        SweepTrial* const trial = due[next++];
        std::cout.flush();
        const std::string gpu = gpus_.empty() ? "" : gpus_[slot % gpus_.size()];
        const fs::path log = folder_.log(trial->name);
        running.push_back({start_training(arguments_of(*trial, rung, threads), log, gpu), trial, slot});
        is_busy[slot] = true;
      }
      if (stop.received() && running.empty()) return false;
      // A second signal would end a training before it has saved.
      if (stop.received() && !std::exchange(is_told, true))
        for (const Running& one : running) kill(one.process, SIGTERM);
      for (size_t i = running.size(); i-- > 0;) {
        int status = 0;
        if (waitpid(running[i].process, &status, WNOHANG) != running[i].process) continue;
        is_busy[running[i].slot] = false;
        if (!stop.received() || (WIFEXITED(status) && WEXITSTATUS(status) == 0))
          take_result(*running[i].trial, rung, status);
        running.erase(running.begin() + static_cast<ptrdiff_t>(i));
        if (!stop.received()) write_and_tell(due, rung);
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(stop.received() ? 200 : 20));
    }
    return !stop.received();
  }

  void take_result(SweepTrial& trial, size_t rung, int status) {
    const RunFolder run(folder_.trial(trial.name));
    if (fs::exists(run.metrics())) {
      const MetricsFile metrics = parse_metrics(read_text(run.metrics()));
      const auto seconds = metrics.series.find("train/seconds");
      if (seconds != metrics.series.end()) trial.seconds = seconds->second.values.back();
    }
    const auto result = fs::exists(run.result()) ? nlohmann::json::parse(read_text(run.result()), nullptr, false)
                                                 : nlohmann::json();
    if (result.is_object()) trial.step = result.value("step", int64_t{0});
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
      trial.error = error_in(folder_.log(trial.name), status);
    } else if (!result.is_object() || !result.contains("best")) {
      trial.error = "it has no finite value of a metric: does the task have data to evaluate on?";
    } else {
      results_.metric = result.value("best_metric", results_.metric);
      results_.more_is_better = result.value("more_is_better", false);
      trial.values.resize(rung + 1, result.at("best").get<double>());
      trial.values[rung] = result.at("best").get<double>();
      trial.best_step = result.value("best_step", int64_t{0});
      if (rung + 1 == rungs_.size()) trial.state = "done";
    }
    if (!trial.error.empty()) trial.state = "failed";
    std::cout << trial.name;
    for (const auto& [option, value] : trial.options) std::cout << "  " << option << ' ' << value;
    if (trial.state == "failed") std::cout << "  FAILED: " << trial.error;
    else std::cout << "  " << results_.metric << ' ' << trial.values.back();
  }

  void write_and_tell(const std::vector<SweepTrial*>& due, size_t rung) {
    write_results(folder_, results_);
    const auto is_past = [&](const SweepTrial* trial) {
      return trial->state == "failed" || trial->values.size() > rung;
    };
    std::cout << "  (" << std::count_if(due.begin(), due.end(), is_past) << " of " << due.size();
    if (rungs_.size() > 1) std::cout << " in rung " << rung + 1 << " of " << rungs_.size();
    if (const SweepTrial* const best = results_.best())
      std::cout << ", best " << best->name << ' ' << best->values.back();
    std::cout << ')' << std::endl;
  }

  // Halving goes on with one in `factor` points, and at least one, by the mean of their trials.
  void drop_the_worse(size_t rung) {
    struct Mean {
      double sum = 0;
      size_t count = 0;
      double value() const { return sum / static_cast<double>(count); }
    };
    std::map<size_t, Mean> means;
    for (const SweepTrial& trial : results_.trials)
      if (trial.state == "waiting" && trial.values.size() > rung) {
        means[trial.point].sum += trial.values[rung];
        ++means[trial.point].count;
      }
    std::vector<size_t> points;
    for (const auto& [point, mean] : means) points.push_back(point);
    std::stable_sort(points.begin(), points.end(), [&](size_t a, size_t b) {
      return results_.is_better(means[a].value(), means[b].value());
    });
    points.resize(std::min(points.size(), std::max<size_t>(1, points.size() / static_cast<size_t>(plan_.factor))));
    for (SweepTrial& trial : results_.trials)
      if (trial.state == "waiting" && std::find(points.begin(), points.end(), trial.point) == points.end())
        trial.state = "dropped";
    write_results(folder_, results_);
  }

  SweepPlan plan_;
  std::vector<int64_t> rungs_;
  SweepFolder folder_;
  std::vector<std::string> gpus_;  // empty: trainings see all of them
  SweepResults results_;
};

class SweepVerb final : public Verb {
 public:
  void add_flags(Flags& flags) override {
    flags.add("sweep.cfg", file_, "the sweep's configuration, see docs/sweep.md", {.required = true});
    flags.add("--retry", retries_, "train failed trials again, which are otherwise left as they are");
  }

  int run(Communicator& ranks) override {
    if (ranks.size() > 1)
      fail_usage("a sweep starts its trainings itself: run it without mpirun, and set parallel in ", file_);
    return Sweep(SweepPlan::read(file_)).run(retries_);
  }

 private:
  std::string file_;
  bool retries_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_sweep_verb() { return std::make_unique<SweepVerb>(); }

}  // namespace engine
