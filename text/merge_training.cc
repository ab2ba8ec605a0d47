#include "text/merge_training.h"

#include <algorithm>
#include <queue>
#include <unordered_map>

namespace engine {

namespace {

using Pair = std::pair<int32_t, int32_t>;

struct PairHash {
  size_t operator()(const Pair& pair) const {
    const auto both =
        static_cast<uint64_t>(static_cast<uint32_t>(pair.first)) << 32 | static_cast<uint32_t>(pair.second);
    const uint64_t mixed = both * 0x9e3779b97f4a7c15u;
    return mixed ^ mixed >> 32;
  }
};

struct PairState {
  int64_t count = 0;
  std::vector<uint32_t> words;  // words that have, or had, the pair
};

struct Candidate {
  int64_t count;
  Pair pair;
  bool operator<(const Candidate& other) const {  // the queue's top is its largest
    return count != other.count ? count < other.count : pair > other.pair;
  }
};

class MergeTrainer {
 public:
  explicit MergeTrainer(std::vector<CountedWord> words) : words_(std::move(words)) {
    for (size_t word = 0; word < words_.size(); ++word)
      for (size_t i = 0; i + 1 < words_[word].tokens.size(); ++i)
        change({words_[word].tokens[i], words_[word].tokens[i + 1]}, word, +1);
    push_changed();
  }

  // Returns the most frequent pair. Its count is 0 if no pair is left.
  Candidate next() {
    while (!queue_.empty()) {
      Candidate best = queue_.top();
      queue_.pop();
      // Counts fall without a new entry in the queue. A pair whose count rose has a new entry.
      const int64_t count = pairs_[best.pair].count;
      if (count == best.count) return best;
      if (count > 0 && count < best.count) queue_.push({count, best.pair});
    }
    return {0, {}};
  }

  void merge(Pair pair, int32_t merged) {
    const std::vector<uint32_t> places = std::move(pairs_[pair].words);
    pairs_[pair].words.clear();
    for (const uint32_t word : places) merge_in(word, pair, merged);
    push_changed();
  }

 private:
  void change(Pair pair, size_t word, int64_t times) {
    PairState& state = pairs_[pair];
    state.count += times * words_[word].count;
    if (times < 0) return;
    if (state.words.empty() || state.words.back() != word) state.words.push_back(static_cast<uint32_t>(word));
    changed_.push_back(pair);
  }

  void push_changed() {
    std::sort(changed_.begin(), changed_.end());
    changed_.erase(std::unique(changed_.begin(), changed_.end()), changed_.end());
    for (const Pair& pair : changed_)
      if (const int64_t count = pairs_[pair].count; count > 0) queue_.push({count, pair});
    changed_.clear();
  }

  // Each replacement changes the counts of the pair and of its two neighbours, the left of which may be a replacement.
  void merge_in(uint32_t word, Pair pair, int32_t merged) {
    std::vector<int32_t>& tokens = words_[word].tokens;
    size_t kept = 0;
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (i + 1 == tokens.size() || tokens[i] != pair.first || tokens[i + 1] != pair.second) {
        tokens[kept++] = tokens[i];
        continue;
      }
      change(pair, word, -1);
      if (kept > 0) {
        change({tokens[kept - 1], pair.first}, word, -1);
        change({tokens[kept - 1], merged}, word, +1);
      }
      if (i + 2 < tokens.size()) {
        change({pair.second, tokens[i + 2]}, word, -1);
        change({merged, tokens[i + 2]}, word, +1);
      }
      tokens[kept++] = merged;
      ++i;
    }
    tokens.resize(kept);
  }

  std::vector<CountedWord> words_;
  std::unordered_map<Pair, PairState, PairHash> pairs_;
  std::priority_queue<Candidate> queue_;
  std::vector<Pair> changed_;
};

}  // namespace

std::vector<BpeMerges::Merge> train_merges(std::vector<CountedWord> words, std::vector<std::string>& vocabulary,
                                           const MergeTraining& training) {
  std::unordered_map<std::string, int32_t> ids;
  for (size_t id = 0; id < vocabulary.size(); ++id) ids.emplace(vocabulary[id], static_cast<int32_t>(id));
  MergeTrainer trainer(std::move(words));
  std::vector<BpeMerges::Merge> merges;
  while (vocabulary.size() < training.vocab_size) {
    const Candidate best = trainer.next();
    if (best.count < std::max<int64_t>(training.min_frequency, 1)) break;
    const auto [left, right] = best.pair;
    std::string_view behind = vocabulary[static_cast<size_t>(right)];
    if (behind.starts_with(training.prefix)) behind.remove_prefix(training.prefix.size());
    std::string token = vocabulary[static_cast<size_t>(left)] + std::string(behind);
    // Two pairs may spell the same token.
    const auto [known, is_new] = ids.emplace(token, static_cast<int32_t>(vocabulary.size()));
    if (is_new) vocabulary.push_back(std::move(token));
    trainer.merge(best.pair, known->second);
    merges.push_back({left, right, known->second});
  }
  return merges;
}

}  // namespace engine
