#include "text/token_trie.h"

#include "text/unicode.h"

namespace engine {

TokenTrie::TokenTrie(const Vocabulary& vocabulary) {
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    if (!vocabulary.is_in_model(id)) continue;
    const std::string& token = vocabulary.token(id);
    int32_t node = root;
    for (const char *place = token.data(), *end = place + token.size(); place < end;)
      node = add_child(node, next_character(place));
    if (node != root) tokens_[static_cast<size_t>(node)] = id;
  }
}

size_t TokenTrie::place_of(uint64_t key) const {
  size_t place = (key * 0x9e3779b97f4a7c15u) >> shift_;
  while (edges_[place].key != key && edges_[place].child >= 0) place = (place + 1) & (edges_.size() - 1);
  return place;
}

int32_t TokenTrie::child(int32_t node, char32_t character) const {
  return edges_[place_of(key_of(node, character))].child;
}

int32_t TokenTrie::add_child(int32_t node, char32_t character) {
  const uint64_t key = key_of(node, character);
  if (const int32_t known = edges_[place_of(key)].child; known >= 0) return known;
  if (2 * tokens_.size() >= edges_.size()) grow();
  const auto added = static_cast<int32_t>(tokens_.size());
  edges_[place_of(key)] = {key, added};
  tokens_.push_back(-1);
  return added;
}

void TokenTrie::grow() {
  std::vector<Edge> old(2 * edges_.size());
  old.swap(edges_);
  --shift_;
  for (const Edge& edge : old)
    if (edge.child >= 0) edges_[place_of(edge.key)] = edge;
}

int32_t TokenTrie::walk(std::string_view text) const {
  int32_t node = root;
  for (const char *place = text.data(), *end = place + text.size(); place < end && node >= 0;)
    node = child(node, next_character(place));
  return node;
}

}  // namespace engine
