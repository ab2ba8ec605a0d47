// A curriculum says which levels a step's examples have. They come in stages, each with a mixture, or one level a step
// is chosen as the training goes, by learning progress. That is how much a level's loss fell below its running mean
// when it last came.
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

// "1:1" "2:9" says which part of the examples has which level. Parts are in the order of the list.
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

  // Comes before the draws of a step. An automatic curriculum chooses by what it has learned until then.
  void begin_step(int64_t step);
  int draw(Random& random) const { return chosen_ >= 0 ? chosen_ : mixture_->draw(random); }
  void step_done(double loss);  // mean loss of the step that began last

  bool has(int level) const;         // whether any step may have examples of this level
  std::vector<int> levels() const;   // all levels that may come, ascending
  bool is_automatic() const { return policy_ != "none"; }
  bool is_constant() const { return !is_automatic() && stages_.empty(); }

  // Returns progress and probability of each level of an automatic curriculum.
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
  double scale_ = 0;  // running mean of |decrease|
  int chosen_ = -1;   // chosen level of the step, or -1
};

}  // namespace engine
