// SweepPlan is a sweep.cfg as it was read: which trainings a sweep consists of.
//
//   task = "configs/arithmetic.cfg"
//   name = "rates"
//   method = "random"
//   trials = 20
//   [set]                                  # options of every training
//   training.max_steps = 500
//   [options]                              # options that are searched
//   training.learning_rate = { log_uniform = [1e-4, 1e-2] }
//   model.num_layers = { integers = [1, 4] }
//   training.scheduler = ["linear", "cosine"]
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "core/options.h"

namespace engine {

// The values that one option may have.
struct SearchSpace {
  enum class Kind { list, uniform, log_uniform, integers } kind = Kind::list;
  std::string option;
  std::vector<std::string> values;  // a list's, as the command line takes them
  double low = 0, high = 0;         // ends of a range, which belong to it
  int64_t count = 0;                // values of a range in a grid

  // The values in a grid: the list, or `count` values of the range, both ends among them. Integers are all taken where
  // count is 0.
  std::vector<std::string> grid() const;
  int64_t grid_size() const;
  int64_t integers_in_range() const;
  // The value at `share` (0 ... 1, without 1) of the list or range.
  std::string at(double share) const;
};

// One choice of a value for each searched option.
using SweepPoint = std::vector<std::pair<std::string, std::string>>;

struct SweepPlan {
  std::string task, name, output_dir = "runs";
  std::string method = "grid";  // grid random halving
  int64_t trials = 10;          // points of random and halving
  std::vector<std::string> seeds;  // of each point's trainings; empty: the task's
  uint64_t seed = 1;               // of what random and halving draw
  std::string metric;              // empty: the task's own
  int64_t parallel = 0, gpus = 0, threads = 0;
  int64_t min_steps = 100, max_steps = 0, factor = 3;  // of halving
  SweepPoint set;
  std::vector<SearchSpace> spaces;

  // Reads a file. Throws a UsageError with file and line for a key, an option or a value that is wrong.
  static SweepPlan read(const std::filesystem::path& file);

  // The points in their order, always the same for the same plan.
  std::vector<SweepPoint> points() const;
  // Steps of a training in each rung of halving. Other methods have one rung, 0: as the task says.
  std::vector<int64_t> rungs() const;
  // Tells plans apart. What may change when a sweep goes on is no part of it.
  std::string text() const;
};

}  // namespace engine
