// A file of expressions lets runs and other programs share them.
//   {"config": {...}, "digest": "...", "data": {"train": {"1": ["(1+2)", ...], ...}, "eval": {...}}}
// config holds the options that they were made with, digest a hash of all inputs in their order.
#pragma once

#include <filesystem>
#include <map>

#include "tasks/scratchpad/config.h"
#include "tasks/scratchpad/expressions.h"

namespace engine {

class ExpressionFile {
 public:
  using Split = ExpressionSource::Split;

  // Writes levels 0 to max_depth of both splits, with all expressions of a level that has at most `quantity`, else so
  // many. Each level is shuffled. Limits and the split are those of [scratchpad].
  static void write(const std::filesystem::path& path, const ScratchpadConfig& config, int64_t quantity, uint64_t seed);

  // Throws an Error where the file is damaged or its digest does not match its data. Throws a UsageError where it was
  // made with other limits than the configuration's, holds no expressions of a level that is needed (`trained`, and all
  // up to max_depth for evaluation), or has an expression above level 1 in both splits though something is held out.
  ExpressionFile(const std::filesystem::path& path, const ScratchpadConfig& config, const std::vector<int>& trained);

  const Expression* draw(Random& random, int level) const;  // for training
  // `quantity` expressions of evaluation, or all where there are fewer, the same for the same file, level and seed.
  std::vector<const Expression*> sample(uint64_t seed, int level, size_t quantity) const;
  const std::string& digest() const { return digest_; }
  // Returns the lengths of the longest input and scratchpad of all.
  int longest_input() const { return longest_input_; }
  int longest_scratchpad() const { return longest_scratchpad_; }

 private:
  ExpressionPool pool_;
  std::map<int, std::vector<const Expression*>> train_, eval_;
  std::string digest_;
  int longest_input_ = 1, longest_scratchpad_ = 1;
};

}  // namespace engine
