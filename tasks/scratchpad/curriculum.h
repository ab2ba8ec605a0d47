// Curriculum: the levels of a step's examples. Stages have a mixture each. An automatic curriculum chooses a level a
// step by learning progress, which is how far a level's loss fell below its running mean when it last came.
//   mean[l], progress[l]   running means (decay d) of level l's loss and of its decrease r = mean[l] - loss
//   argmax                 the level of the greatest progress, after each level has come twice
//   epsilon_greedy         the same, but with probability e any level, evenly
//   exp3                   drawn with p[l] = (1 - e) w[l] / sum w + e / K; then w[l] *= exp(rate s / p[l]), where s is
//                          r over the running mean of |r|, within -1 ... 1; weights are drawn a hundredth of the way to
//                          their mean each step, so that a level can come back (Exp3.S; Auer et al. 2002, Graves et
//                          al. 2017)
#pragma once

#include <string>
#include <vector>

#include "core/random.h"
#include "tasks/scratchpad/config.h"
#include "training/task.h"

namespace engine {

// The parts of the examples that have each level, "1:1" "2:9", in the order of the list.
struct Mixture {
  std::vector<int> levels;
  std::vector<uint32_t> parts;
  uint32_t total = 0;

  // Throws a UsageError, which begins with the option's name, where an entry is no "level:parts".
  Mixture(const std::vector<std::string>& text, const std::string& option);
  int draw(Random& random) const;
  bool has(int level) const;
};

class Curriculum {
 public:
  Curriculum(const ScratchpadConfig& config, uint64_t seed);
  Curriculum(const Curriculum&) = delete;  // it points into itself
  Curriculum& operator=(const Curriculum&) = delete;

  // Comes before the draws of a step. An automatic curriculum chooses by the losses that it has seen until then.
  void begin_step(int64_t step);
  int draw(Random& random) const { return chosen_ >= 0 ? chosen_ : mixture_->draw(random); }
  void step_done(double loss);  // that step's mean loss

  bool has(int level) const;         // whether any step may have examples of this level
  std::vector<int> levels() const;   // all levels that may come, ascending
  bool is_automatic() const { return policy_ != "none"; }
  bool is_constant() const { return !is_automatic() && stages_.empty(); }

  // Progress and probability of each level of an automatic one.
  Metrics log() const;
  std::string state() const;
  void set_state(const std::string& text);

 private:
  int choose(Random& random) const;
  std::vector<double> probabilities() const;

  struct Stage {
    int64_t end;  // first step after it
    Mixture mixture;
  };
  struct Level {
    int level;
    int64_t steps = 0;
    double mean = 0, progress = 0, weight = 1;
  };

  std::string policy_;
  uint64_t seed_;
  double epsilon_, decay_, rate_;
  std::vector<Stage> stages_;
  Mixture last_;
  const Mixture* mixture_;
  std::vector<Level> levels_;
  double scale_ = 0;  // the running mean of |decrease|
  int chosen_ = -1;   // the step's level, -1 none
};

}  // namespace engine
