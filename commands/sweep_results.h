// The results of a sweep: its trials, the table of them, and the importance of each option.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "commands/sweep_plan.h"
#include "report/sweep_folder.h"

namespace engine {

struct SweepTrial {
  std::string name;
  SweepPoint options;  // the searched ones, and the seed where a sweep has several
  size_t point = 0;    // trials of one point differ in their seeds
  // waiting, done, failed, or dropped: halving went on without it
  std::string state = "waiting";
  std::vector<double> values;  // the best value of the metric after each rung
  int64_t best_step = 0, step = 0;
  double seconds = 0;  // that its steps took
  std::string error;

  bool has_value() const { return !values.empty(); }
};

struct SweepResults {
  std::string metric = "metric";  // that counts
  bool more_is_better = false;
  std::vector<SweepTrial> trials;

  bool is_better(double a, double b) const { return more_is_better ? a > b : a < b; }
  // The trial with the best value after the most rungs, or null where none has a value.
  const SweepTrial* best() const;
};

// The importance of an option is the share of the variance of the metric that the option explains alone:
//   sum over groups g of n_g (mean_g - mean)^2  /  sum over trials of (value - mean)^2,
// where a group has the trials with the same value of the option, or, of a number with more than five values, a quarter
// of the trials by its order. Values are those after the first rung, so that all trials are compared after equal steps.
// It is 0 where an option explains nothing and 1 where nothing else counts. With few trials it is too large: random
// values explain (groups - 1) / (trials - 1).
struct Importance {
  std::string option;
  double share = 0;
  size_t values = 0;  // different ones
  std::string best;   // the value of the group with the best mean, or its range
};
// The most important first. Empty with fewer than three trials that have a value.
std::vector<Importance> importance_of(const SweepResults& results);

// Writes results.jsonl, results.md and sweep.json. Times stand in results.jsonl alone.
void write_results(const SweepFolder& folder, const SweepResults& results);
// Takes what an earlier process noted of these trials.
void read_results(const SweepFolder& folder, SweepResults& results);
std::string results_markdown(const SweepResults& results);

}  // namespace engine
