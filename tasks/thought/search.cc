#include "tasks/thought/search.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"

namespace engine {

namespace {

using Piece = CachedScorer::Piece;

// Known holds a sequence with the loss of each position's target and the rank of a thought there. Positions that a
// thought follows have neither.
struct Known {
  SearchedSequence sequence;
  std::vector<float> losses;
  std::vector<int32_t> ranks;  // 0: none
  int64_t slot = 0, spare = 0;
  size_t cursor = 0;           // where run_through goes on

  size_t positions() const { return sequence.tokens.size() - 1; }
};

// A sequence with one more thought, and what is run of it.
struct Attempt {
  size_t index;  // of its sequence
  size_t place;  // position before the thought
  size_t start;  // first position that is run again
  std::vector<int32_t> tokens, labels;  // labels of the positions from start on
  std::vector<float> losses;            // of these positions
  std::vector<int32_t> ranks;
  float gain = 0;
};

std::vector<int32_t> labels_of(std::span<const int32_t> tokens, size_t start, int32_t thought) {
  std::vector<int32_t> labels;
  for (size_t i = start; i + 1 < tokens.size(); ++i) labels.push_back(tokens[i + 1] == thought ? -100 : tokens[i + 1]);
  return labels;
}

class Search {
 public:
  Search(CachedScorer& scorer, int32_t thought, std::span<const std::vector<int32_t>> sequences, int64_t more)
      : scorer_(scorer), thought_(thought) {
    int64_t longest = 0;
    for (const std::vector<int32_t>& tokens : sequences) {
      require(tokens.size() >= 2, "a sequence of ", tokens.size(), " tokens has no target: at least 2 are needed");
      longest = std::max<int64_t>(longest, std::ssize(tokens) - 1 + more);
      const auto slot = static_cast<int64_t>(2 * known_.size());
      known_.push_back({.sequence = {tokens, std::vector<int32_t>(tokens.size())}, .losses = {}, .ranks = {},
                        .slot = slot, .spare = slot + 1});
    }
    scorer_.begin({.slots = std::ssize(known_) * 2, .rows = longest});
    std::vector<Attempt> all;
    for (size_t i = 0; i < known_.size(); ++i) {
      const std::vector<int32_t>& tokens = known_[i].sequence.tokens;
      all.push_back({.index = i, .place = 0, .start = 0, .tokens = tokens, .labels = labels_of(tokens, 0, thought_)});
    }
    run(all, /*to_spare=*/false);
    for (Attempt& attempt : all) {
      known_[attempt.index].losses = std::move(attempt.losses);
      known_[attempt.index].ranks = std::move(attempt.ranks);
    }
  }

  std::vector<Known>& known() { return known_; }

  // Makes the sequence with a thought behind a position.
  Attempt attempt(size_t index, size_t place) const {
    const std::vector<int32_t>& tokens = known_[index].sequence.tokens;
    Attempt result{.index = index, .place = place, .start = place, .tokens = tokens, .labels = {}};
    result.tokens.insert(result.tokens.begin() + static_cast<ptrdiff_t>(place) + 1, thought_);
    // The state that a thought injects is captured at the token before it, which is run for that. Where that is a
    // thought itself, so is the one before it.
    while (result.start > 0 && tokens[result.start] == thought_) --result.start;
    result.labels = labels_of(result.tokens, result.start, thought_);
    return result;
  }

  // Runs attempts in the spare slots of their sequences, or the whole sequences in their own ones.
  void run(std::vector<Attempt>& attempts, bool to_spare) {
    std::vector<CachedScorer::Copy> copies;
    std::vector<Piece> pieces;
    for (const Attempt& attempt : attempts) {
      const Known& known = known_[attempt.index];
      const auto start = static_cast<int64_t>(attempt.start);
      const int64_t slot = to_spare ? known.spare : known.slot;
      if (to_spare && start > 0) copies.push_back({.from = known.slot, .to = slot, .rows = start});
      const auto inputs = std::span(attempt.tokens).subspan(attempt.start, attempt.labels.size());
      pieces.push_back({.slot = slot, .cached = start, .tokens = inputs, .labels = attempt.labels});
    }
    scorer_.copy_slots(copies);
    CachedScorer::Scores scores{.wants_ranks = true, .ranked_token = thought_};
    scorer_.score(pieces, scores);
    size_t at = 0;
    for (Attempt& attempt : attempts)
      for (const int32_t label : attempt.labels) {
        attempt.losses.push_back(label == -100 ? 0 : scores.losses[at]);
        attempt.ranks.push_back(label == -100 ? 0 : scores.ranks[at]);
        at += label != -100;
      }
  }

  // Returns which attempts are the better half by the mean gain of the targets behind their (first) thought, which it
  // writes to each. Of equal ones the first count, and of an odd number the larger half.
  std::vector<bool> better_half(std::vector<Attempt>& attempts) const {
    for (Attempt& attempt : attempts) {
      const Known& known = known_[attempt.index];
      // Both have the same targets in the same order.
      const std::vector<float> before = targets_from(known.losses, known.ranks, attempt.place);
      const std::vector<float> with = targets_from(attempt.losses, attempt.ranks, attempt.place + 1 - attempt.start);
      double sum = 0;
      for (size_t i = 0; i < before.size(); ++i) sum += static_cast<double>(before[i]) - static_cast<double>(with[i]);
      attempt.gain = static_cast<float>(sum / static_cast<double>(before.size()));
    }
    std::vector<size_t> order(attempts.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return attempts[a].gain > attempts[b].gain; });
    std::vector<bool> is_better(attempts.size());
    for (size_t i = 0; i < (attempts.size() + 1) / 2; ++i) is_better[order[i]] = true;
    return is_better;
  }

  void keep(Attempt& attempt) {
    Known& known = known_[attempt.index];
    known.sequence.tokens = std::move(attempt.tokens);
    known.sequence.refused.insert(known.sequence.refused.begin() + static_cast<ptrdiff_t>(attempt.place) + 1, 0);
    const auto splice = [&](auto& all, const auto& end) {
      all.resize(attempt.start);
      all.insert(all.end(), end.begin(), end.end());
    };
    splice(known.losses, attempt.losses);
    splice(known.ranks, attempt.ranks);
    std::swap(known.slot, known.spare);
  }

 private:
  // Returns the losses of the targets from a position on.
  static std::vector<float> targets_from(const std::vector<float>& losses, const std::vector<int32_t>& ranks,
                                         size_t first) {
    std::vector<float> targets;
    for (size_t i = first; i < losses.size(); ++i)
      if (ranks[i] != 0) targets.push_back(losses[i]);
    return targets;
  }

  CachedScorer& scorer_;
  const int32_t thought_;
  std::vector<Known> known_;
};

// Returns the first position from begin to end-1 where a thought is the top, else the one where its rank is best; end
// where none is left.
size_t best_place(const Known& known, size_t begin, size_t end) {
  size_t best = end;
  for (size_t i = begin; i < end; ++i) {
    if (known.ranks[i] == 0 || known.sequence.refused[i] > 0) continue;
    if (best == end || known.ranks[i] < known.ranks[best]) best = i;
    if (known.ranks[best] == 1) break;
  }
  return best;
}

void search_pass(Search& search, SearchWay way, int64_t passes_left, std::vector<Trial>& trials) {
  std::vector<Attempt> attempts;
  for (size_t i = 0; i < search.known().size(); ++i) {
    Known& known = search.known()[i];
    size_t begin = 0, end = known.positions();
    if (way == SearchWay::run_through) {
      begin = std::min(known.cursor, end);
      end = begin + (end - begin + static_cast<size_t>(passes_left) - 1) / static_cast<size_t>(passes_left);
    }
    const size_t place = best_place(known, begin, end);
    if (place < end) attempts.push_back(search.attempt(i, place));
  }
  if (attempts.empty()) return;
  search.run(attempts, /*to_spare=*/true);
  const std::vector<bool> kept = search.better_half(attempts);
  for (size_t i = 0; i < attempts.size(); ++i) {
    Attempt& attempt = attempts[i];
    Known& known = search.known()[attempt.index];
    trials.push_back({known.sequence.tokens[attempt.place], attempt.gain, kept[i]});
    known.cursor = attempt.place + 1;
    if (kept[i]) search.keep(attempt);
    else ++known.sequence.refused[attempt.place];
  }
}

// Puts thoughts at drawn places into each sequence, and keeps the better half of the sequences.
SearchResult search_sequences(CachedScorer& scorer, int32_t thought, std::span<const std::vector<int32_t>> sequences,
                              int64_t count, Random& random) {
  Search search(scorer, thought, sequences, count);
  std::vector<Attempt> attempts;
  for (size_t i = 0; i < sequences.size(); ++i) {
    const auto positions = static_cast<uint32_t>(sequences[i].size() - 1);
    std::vector<size_t> places;
    for (int64_t k = 0; k < count; ++k) places.push_back(random.below(positions));
    std::sort(places.begin(), places.end());
    Attempt attempt{.index = i, .place = places[0], .start = 0, .tokens = {}, .labels = {}};
    auto place = places.begin();
    for (size_t t = 0; t < sequences[i].size(); ++t) {
      attempt.tokens.push_back(sequences[i][t]);
      for (; place != places.end() && *place == t; ++place) attempt.tokens.push_back(thought);
    }
    attempt.labels = labels_of(attempt.tokens, 0, thought);
    attempts.push_back(std::move(attempt));
  }
  search.run(attempts, /*to_spare=*/true);
  const std::vector<bool> kept = search.better_half(attempts);
  SearchResult result;
  for (size_t i = 0; i < attempts.size(); ++i) {
    for (size_t t = 1; t < attempts[i].tokens.size(); ++t)
      if (attempts[i].tokens[t] == thought)
        result.trials.push_back({attempts[i].tokens[t - 1], attempts[i].gain, kept[i]});
    const size_t size = attempts[i].tokens.size();
    if (kept[i]) result.sequences.push_back({std::move(attempts[i].tokens), std::vector<int32_t>(size)});
  }
  return result;
}

}  // namespace

SearchWay search_way_of(const std::string& name) {
  return name == "token" ? SearchWay::token : name == "run_through" ? SearchWay::run_through : SearchWay::sequence;
}

SearchResult search_thoughts(CachedScorer& scorer, int32_t thought, std::span<const std::vector<int32_t>> sequences,
                             SearchWay way, int64_t passes, Random& random) {
  require(passes > 0, "a search has at least one pass");
  if (sequences.empty()) return {};
  const ArenaScope scope(scorer.arena());
  if (way == SearchWay::sequence) return search_sequences(scorer, thought, sequences, passes, random);
  Search search(scorer, thought, sequences, passes);
  SearchResult result;
  for (int64_t pass = 0; pass < passes; ++pass) search_pass(search, way, passes - pass, result.trials);
  for (Known& known : search.known()) result.sequences.push_back(std::move(known.sequence));
  return result;
}

std::vector<std::vector<int32_t>> own_thoughts(CachedScorer& scorer, int32_t thought,
                                               std::span<const std::vector<int32_t>> sequences, int64_t most,
                                               int64_t most_in_a_row) {
  if (sequences.empty()) return {};
  const ArenaScope scope(scorer.arena());
  Search search(scorer, thought, sequences, most);
  for (int64_t pass = 0; pass < most; ++pass) {
    std::vector<Attempt> attempts;
    for (size_t i = 0; i < sequences.size(); ++i) {
      Known& known = search.known()[i];
      const std::vector<int32_t>& tokens = known.sequence.tokens;
      for (; known.cursor < known.positions(); ++known.cursor) {
        if (known.ranks[known.cursor] != 1) continue;
        int64_t in_a_row = 0;
        for (size_t t = known.cursor + 1; t-- > 0 && tokens[t] == thought;) ++in_a_row;
        if (in_a_row >= most_in_a_row) continue;
        attempts.push_back(search.attempt(i, known.cursor++));
        break;
      }
    }
    if (attempts.empty()) break;
    search.run(attempts, /*to_spare=*/true);
    for (Attempt& attempt : attempts) search.keep(attempt);
  }
  std::vector<std::vector<int32_t>> result;
  for (Known& known : search.known()) result.push_back(std::move(known.sequence.tokens));
  return result;
}

}  // namespace engine
