// Byte-pair encoding (Sennrich, Haddow, Birch 2016) of one word. Among all neighbours that may merge, the pair with the
// lowest rank merges, the leftmost first, until no pair may.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace engine {

class BpeMerges {
 public:
  struct Merge {
    int32_t left, right, result;  // ids of tokens
  };
  // The merges come in the order of their ranks. A pair that comes twice counts with its last rank.
  explicit BpeMerges(std::vector<Merge> merges);

  const std::vector<Merge>& all() const { return merges_; }
  // Replaces the tokens of a word by what they merge to. A word of n tokens takes n log n steps.
  void apply(std::vector<int32_t>& word) const;
  // Also adds up the lengths of the tokens that merge.
  void apply(std::vector<int32_t>& word, std::vector<size_t>& lengths) const;

 private:
  static constexpr uint32_t no_rank = UINT32_MAX;
  struct Entry {
    uint64_t pair;
    uint32_t rank = no_rank;
    int32_t result;
  };
  static uint64_t pair_of(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  size_t first_place(uint64_t pair) const { return (pair * 0x9e3779b97f4a7c15u) >> shift_; }
  // Returns the merge of two tokens. Its rank is no_rank if they have none.
  const Entry& find(int32_t left, int32_t right) const {
    const uint64_t pair = pair_of(left, right);
    size_t place = first_place(pair);
    while (table_[place].pair != pair && table_[place].rank != no_rank) place = (place + 1) & (table_.size() - 1);
    return table_[place];
  }
  void apply_by_scan(std::vector<int32_t>& word) const;
  void apply_by_heap(std::vector<int32_t>& word, std::vector<size_t>* lengths = nullptr) const;

  std::vector<Merge> merges_;
  std::vector<Entry> table_;  // open addressing, at most half full
  int shift_;
};

}  // namespace engine
