// A tree of characters holds the tokens of a model, so that one walk finds the longest token with which a text begins.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "text/vocabulary.h"

namespace engine {

class TokenTrie {
 public:
  explicit TokenTrie(const Vocabulary& vocabulary);
  static constexpr int32_t root = 0;
  int32_t child(int32_t node, char32_t character) const;                            // -1: none
  int32_t token(int32_t node) const { return tokens_[static_cast<size_t>(node)]; }  // the token that ends there, or -1
  int32_t walk(std::string_view text) const;  // the node that the characters of `text` lead to, or -1

 private:
  struct Edge {
    uint64_t key = UINT64_MAX;  // node and character
    int32_t child = -1;
  };
  static uint64_t key_of(int32_t node, char32_t character) { return static_cast<uint64_t>(node) << 21 | character; }
  size_t place_of(uint64_t key) const;
  int32_t add_child(int32_t node, char32_t character);
  void grow();

  std::vector<Edge> edges_ = std::vector<Edge>(1024);  // open addressing, at most half full
  int shift_ = 54;
  std::vector<int32_t> tokens_{-1};
};

}  // namespace engine
