// The episodic search finds places where thoughts help: it puts a thought into a sequence as a trial, runs what comes
// behind it again, and keeps the trial where the targets behind it have become likelier than in other sequences. A
// sequence is t_0 ... t_n; position i reads t_i and predicts t_(i+1); thoughts are no targets. With l_i the negative
// log likelihood at position i, the gain of a thought behind t_p is
//   the mean over the targets t_(p+1) ... t_n of (their l without it) - (their l with it), in nats
// t_(p+1) itself is predicted by t_p without the thought, and by the thought with it, so both runs have the same
// targets.
//
// token        Each pass makes a trial in every sequence: at the first position where a thought is the likeliest token,
//              else where its rank among the logits is best (the first among equals). Positions that a thought follows
//              already, or where a trial was refused, are left out. Of a pass's trials the better half is kept, the
//              first ones among equals, and of an odd number the larger half.
// run_through  The same from left to right: with P passes to go, a trial is made in the first 1/P of what is left of a
//              sequence, and the next pass goes on behind it. So later choices see all earlier thoughts, as in writing.
// sequence     Puts `passes` thoughts at places drawn evenly into every sequence at once, and keeps the half of the
//              sequences whose targets behind their first thought have gained most.
//
// After a trial only the sequence's end is run, from the token before the thought on, over the keys and values of what
// stands before it. Refused trials are forgotten with their slot of the cache.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/random.h"
#include "models/cached_scorer.h"

namespace engine {

enum class SearchWay { token, run_through, sequence };
SearchWay search_way_of(const std::string& name);

// A sequence with its thoughts. refused[i] counts the trials behind t_i that were not kept.
struct SearchedSequence {
  std::vector<int32_t> tokens;
  std::vector<int32_t> refused;
};

struct Trial {
  int32_t before = 0;  // the token before the thought
  float gain = 0;      // nats a target
  bool kept = false;
};

struct SearchResult {
  std::vector<SearchedSequence> sequences;  // in their order; of `sequence` those that are kept
  std::vector<Trial> trials;
};

// Searches in sequences of at least 2 tokens. Each must have positions for `passes` more tokens. The caller chooses how
// many sequences are searched together: their gains compete. `random` draws the places of SearchWay::sequence alone.
SearchResult search_thoughts(CachedScorer& scorer, int32_t thought, std::span<const std::vector<int32_t>> sequences,
                             SearchWay way, int64_t passes, Random& random);

// Puts a thought wherever it is the likeliest token, from left to right, as a model does that writes its thoughts while
// the text is given: at most `most` in a sequence, and most_in_a_row one after another. No target is looked at.
std::vector<std::vector<int32_t>> own_thoughts(CachedScorer& scorer, int32_t thought,
                                               std::span<const std::vector<int32_t>> sequences, int64_t most,
                                               int64_t most_in_a_row);

}  // namespace engine
