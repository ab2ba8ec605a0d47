// Blotches are the steps that a row lacks. A row "problem=step=...=step=answer" has its steps between the problem and
// the answer. A model with blotch tokens is told the share of missing steps: each row begins with the token of a level.
#pragma once

#include <string>
#include <vector>

#include "core/random.h"
#include "tasks/blotching/config.h"

namespace engine {

class BlotchLevels {
 public:
  // Throws a UsageError where the shares are impossible.
  explicit BlotchLevels(const BlotchingConfig& config);

  bool has_tokens() const { return has_tokens_; }
  // A model without blotch tokens has one level.
  int count() const { return static_cast<int>(shares_.size()); }
  double share(int level) const { return shares_[static_cast<size_t>(level)]; }
  // Returns the level whose share is nearest, the lower one of two. A negative share means the least level.
  int nearest(double share) const;
  const std::vector<double>& shares() const { return shares_; }
  // Returns the tokens of the levels, "<blotch_0>" and on, or none.
  std::vector<std::string> tokens() const;

 private:
  bool has_tokens_;
  std::vector<double> shares_;
};

// Chooses the steps that a row lacks.
class Blotcher {
 public:
  explicit Blotcher(const BlotchingConfig& config)
      : is_contiguous_(config.contig_blotches), is_equal_(config.blotch_spacing == "equal") {}

  // left_out receives for each of the steps whether the row lacks it.
  void choose(Random& random, double share, size_t steps, std::vector<bool>& left_out) const;

 private:
  bool is_contiguous_, is_equal_;
};

}  // namespace engine
