// The search for places in a training: the sequences of a step are searched in groups, which the ranks share, and
// become the step's batch. What the trials gave is counted for the log.
#pragma once

#include <array>
#include <string>

#include "tasks/thought/config.h"
#include "tasks/thought/search.h"
#include "text/tokenizer.h"
#include "training/task.h"

namespace engine {

class ThoughtSearch {
 public:
  ThoughtSearch(const ThoughtConfig& config, int32_t thought, const Tokenizer& tokenizer)
      : config_(config), thought_(thought), tokenizer_(tokenizer) {}

  // Searches in groups of config.search_group sequences. Every rank takes some groups, and has all results.
  SearchResult run(Machine& machine, CachedScorer& scorer, std::span<const std::vector<int32_t>> sequences,
                   uint64_t seed) const;
  // Returns the sequences with thoughts where the model itself asks for them (own_thoughts), at most config.count in
  // each. Every rank takes some sequences, and has all.
  std::vector<std::vector<int32_t>> own_places(Machine& machine, CachedScorer& scorer,
                                               std::span<const std::vector<int32_t>> sequences) const;
  // Counts trials, and the seconds that they took.
  void count(const SearchResult& result, double seconds);
  // Returns what was counted since the last call: insertions that were tried, the share that was kept, the mean gain of
  // those in nats a target, shares of what stands before a kept thought, and the search's share of the time.
  Metrics log(double seconds_now);
  // Appends a searched sequence with its targets. Thoughts are targets with the weight config.reinforce, and where a
  // trial was refused a thought has the penalty config.punish.
  void append(const SearchedSequence& sequence, SequenceBatch& batch) const;
  // Returns the text of a sequence with its thoughts.
  std::string text_of(const SearchedSequence& sequence) const;

 private:
  static constexpr std::array<const char*, 6> kinds{"letter", "digit", "space", "punctuation", "thought", "other"};
  size_t kind_of(int32_t token) const;

  const ThoughtConfig& config_;
  const int32_t thought_;
  const Tokenizer& tokenizer_;
  double tried_ = 0, kept_ = 0, gain_ = 0, seconds_ = 0, last_log_ = -1;
  std::array<double, kinds.size()> kept_after_{};
};

}  // namespace engine
