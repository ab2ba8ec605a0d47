// TreeSums adds up numbers of ranks by a fixed tree, ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7)), whatever the order in
// which the ranks' numbers come. It keeps a sum for each node of the tree whose ranks have all come, unless that of a
// larger node holds it. So it needs few sums where ranks come one behind the other, as they do around a ring.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

namespace engine {

class TreeSums {
 public:
  explicit TreeSums(size_t count) : count_(count) {}
  // Makes room for the sums of the ranks first, first + 1, ... of `size` (a power of two), so many, around the ring.
  TreeSums(size_t count, int first, int ranks, int size) : count_(count) {
    TreeSums nodes(0);
    for (int i = 0; i < ranks; ++i) nodes.add((first + i) % size, {});
    nodes_ = nodes.nodes_;
    values_.resize(nodes_.size() * count_);
  }

  void add(int rank, std::span<const float> own) {
    const auto behind = std::find_if(nodes_.begin(), nodes_.end(), [&](const Node& node) { return node.first > rank; });
    auto at = static_cast<size_t>(behind - nodes_.begin());
    nodes_.insert(behind, {rank, 1});
    values_.insert(values_.begin() + offset(at), own.begin(), own.end());
    for (;;) {
      const int other = nodes_[at].first ^ nodes_[at].ranks;
      if (at > 0 && is_node(at - 1, other, nodes_[at].ranks)) --at;
      else if (!is_node(at + 1, other, nodes_[at].ranks)) return;
      merge(at);
    }
  }
  // Returns the sums of all nodes, by their ranks. That of all ranks is the only one once all have come.
  std::span<float> values() { return values_; }

 private:
  struct Node {
    int first, ranks;
  };
  std::ptrdiff_t offset(size_t node) const { return static_cast<std::ptrdiff_t>(node * count_); }
  bool is_node(size_t at, int first, int ranks) const {
    return at < nodes_.size() && nodes_[at].first == first && nodes_[at].ranks == ranks;
  }
  // Adds the node behind this one to it.
  void merge(size_t at) {
    nodes_[at].ranks *= 2;
    nodes_.erase(nodes_.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    float* const sum = values_.data() + at * count_;
    const float* const other = sum + count_;
    for (size_t i = 0; i < count_; ++i) sum[i] += other[i];
    values_.erase(values_.begin() + offset(at + 1), values_.begin() + offset(at + 2));
  }

  size_t count_;
  std::vector<Node> nodes_;    // in the order of their ranks
  std::vector<float> values_;  // [nodes][count]
};

}  // namespace engine
