#include "text/bpe_merges.h"

#include <algorithm>
#include <array>
#include <bit>

#include "core/error.h"

namespace engine {

namespace {
// Up to this length it is quicker to look at all pairs for each merge than to keep a heap of them.
constexpr size_t longest_scanned = 48;
}  // namespace

BpeMerges::BpeMerges(std::vector<Merge> merges) : merges_(std::move(merges)) {
  require(merges_.size() < no_rank, merges_.size(), " merges are more than can be numbered");
  const size_t size = std::bit_ceil(std::max<size_t>(2 * merges_.size(), 16));
  shift_ = 64 - std::countr_zero(size);
  table_.assign(size, {.pair = UINT64_MAX, .rank = no_rank, .result = -1});
  for (size_t rank = 0; rank < merges_.size(); ++rank) {
    const Merge& merge = merges_[rank];
    Entry& entry = const_cast<Entry&>(find(merge.left, merge.right));
    entry = {pair_of(merge.left, merge.right), static_cast<uint32_t>(rank), merge.result};
  }
}

void BpeMerges::apply(std::vector<int32_t>& word) const {
  if (word.size() < 2) return;
  if (word.size() <= longest_scanned)
    apply_by_scan(word);
  else
    apply_by_heap(word);
}

void BpeMerges::apply(std::vector<int32_t>& word, std::vector<size_t>& lengths) const {
  if (word.size() > 1) apply_by_heap(word, &lengths);
}

void BpeMerges::apply_by_scan(std::vector<int32_t>& word) const {
  std::array<const Entry*, longest_scanned> merges;  // each token with the next
  size_t pairs = word.size() - 1;
  for (size_t i = 0; i < pairs; ++i) merges[i] = &find(word[i], word[i + 1]);
  while (pairs > 0) {
    size_t best = 0;
    uint32_t least = merges[0]->rank;
    for (size_t i = 1; i < pairs; ++i)
      if (merges[i]->rank < least) least = merges[best = i]->rank;
    if (least == no_rank) break;
    word[best] = merges[best]->result;
    for (size_t i = best + 1; i < pairs; ++i) {
      word[i] = word[i + 1];
      merges[i - 1] = merges[i];
    }
    --pairs;
    if (best > 0) merges[best - 1] = &find(word[best - 1], word[best]);
    if (best < pairs) merges[best] = &find(word[best], word[best + 1]);
  }
  word.resize(pairs + 1);
}

void BpeMerges::apply_by_heap(std::vector<int32_t>& word, std::vector<size_t>* lengths) const {
  // A token that merged into its left neighbour is marked -1. The other tokens are chained by next and previous.
  struct Candidate {
    uint32_t rank, place;
    int32_t left, right;  // a candidate whose tokens have changed is void
    bool operator<(const Candidate& other) const {  // the heap's top is its largest
      return rank != other.rank ? rank > other.rank : place > other.place;
    }
  };
  require(word.size() < UINT32_MAX, "a word of ", word.size(), " bytes is too long");
  const uint32_t count = static_cast<uint32_t>(word.size());
  std::vector<uint32_t> next(count), previous(count);
  std::vector<Candidate> heap;
  heap.reserve(count);
  const auto candidate = [&](uint32_t place) {
    const int32_t left = word[place], right = word[next[place]];
    return Candidate{find(left, right).rank, place, left, right};
  };
  for (uint32_t i = 0; i < count; ++i) {
    next[i] = i + 1;
    previous[i] = i - 1;
  }
  for (uint32_t i = 0; i + 1 < count; ++i)
    if (const Candidate pair = candidate(i); pair.rank != no_rank) heap.push_back(pair);
  std::make_heap(heap.begin(), heap.end());
  const auto push = [&](uint32_t place) {
    const Candidate pair = candidate(place);
    if (pair.rank == no_rank) return;
    heap.push_back(pair);
    std::push_heap(heap.begin(), heap.end());
  };

  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end());
    const Candidate best = heap.back();
    heap.pop_back();
    const uint32_t place = best.place;
    if (word[place] != best.left || next[place] == count || word[next[place]] != best.right) continue;
    const uint32_t merged = next[place];
    word[place] = find(best.left, best.right).result;
    word[merged] = -1;
    if (lengths) (*lengths)[place] += (*lengths)[merged];
    next[place] = next[merged];
    if (next[place] != count) previous[next[place]] = place;
    if (place > 0) push(previous[place]);
    if (next[place] != count) push(place);
  }
  size_t kept = 0;
  for (uint32_t i = 0; i < count; i = next[i]) {
    if (lengths) (*lengths)[kept] = (*lengths)[i];
    word[kept++] = word[i];
  }
  word.resize(kept);
  if (lengths) lengths->resize(kept);
}

}  // namespace engine
