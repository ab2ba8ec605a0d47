// Problems of arithmetic are sums of numbers and products, "3*12+70", in which a problem in parentheses may stand in
// place of a number. A problem has entities e[1], e[2], ... and an operator between each two:
//   e[1] = number;  for i from 2 to max_ents, each from the third on with probability p_ent:
//   the operator is * with probability p_mult (+ behind * where space_mults holds), else +
//   behind + : e[i] = number
//   behind * : e[i-1] and e[i] are drawn as two factors, in either order
// number is even on 0 ... max_num, or Zipf's on 1 ... max_num, or with probability p_paren a problem in parentheses
// with at most max_ents - 1 entities. A factor is even on 0 ... max_mult_num; with one_small_factor one of two is a
// number, and one may be a parenthesis with probability p_paren.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_set>
#include <vector>

#include "core/random.h"
#include "tasks/blotching/config.h"
#include "tasks/blotching/solution.h"

namespace engine {

class ProblemSampler {
 public:
  // Throws a UsageError where a value may become too large to count with.
  explicit ProblemSampler(const BlotchingConfig& config);

  // Overwrites `problem` by one that is drawn. Returns false where it is given up, as it is too long for any row.
  bool draw(Random& random, std::string& problem) const;

  // Returns all problems that may be drawn, or nothing where they may be more than `most`. Those with parentheses are
  // without end for this purpose.
  std::vector<std::string> all(size_t most) const;
  double largest_value() const;  // an upper bound of the values

 private:
  void append_problem(Random& random, int64_t most_entities, std::string& text) const;
  void append_number(Random& random, int64_t most_entities, std::string& text) const;
  void append_factors(Random& random, int64_t most_entities, std::string& text) const;
  int64_t draw_number(Random& random) const;
  double largest_of(int64_t entities, bool may_multiply) const;

  BlotchingConfig config_;
  size_t most_characters_;
  std::vector<double> zipf_;  // cumulative probabilities of 1, 2, ...; empty: even
};

// The problems of a training, and those that are held out of it for validation. The latter are the same whatever the
// training's seed.
class ProblemSource {
 public:
  // Throws a UsageError where there are too few problems.
  explicit ProblemSource(const BlotchingConfig& config);

  const std::vector<std::string>& validation() const { return validation_; }
  // Draws a problem that is not held out and whose solution is short enough, which solver() then has. Returns false
  // where a hundred draws found none, which failure() then describes.
  bool draw(Random& random, std::string& problem);
  // Says in the words of an error what the last hundred draws gave, and which options to change.
  std::string failure() const;
  const Solver& solver() const { return solver_; }
  // All problems but those held out, where there are few enough to know them all; else empty.
  const std::vector<std::string>& training() const { return training_; }

 private:
  void hold_out();
  bool solve(const std::string& problem);  // whether the row is short enough

  ProblemSampler sampler_;
  Solver solver_;
  BlotchingConfig config_;
  int too_long_ = 0;  // of the draws in a row that failed
  std::vector<std::string> validation_, training_;
  std::unordered_set<std::string> held_out_;
};

}  // namespace engine
