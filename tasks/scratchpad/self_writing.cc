#include "tasks/scratchpad/self_writing.h"

#include <algorithm>
#include <unordered_map>

namespace engine {

// A subtree whose result is to be written. Its scratchpad is before_value + result + ")".
struct SelfWriter::Node {
  const Expression* tree;
  std::string input;
  size_t left = 0, right = 0;  // children, unused in leaves
  std::vector<size_t> parents;  // one for each waiting side
  int waiting = 0;              // sides that are not written yet
  int depth = 0;                // the most nodes above it
  int64_t uses = 0;             // below a root
  bool asked = false, too_long = false;
  std::string before_value, result;

  std::string scratchpad() const { return before_value + result + ")"; }
};

struct SelfWriter::Forest {
  std::vector<Node> nodes;
  std::unordered_map<std::string, size_t> by_input;
  bool share_subtrees;

  // The node of a tree that is no leaf, and those of all below it. Roots whose values are not wanted are not `shared`,
  // so that none of them stands for a subtree whose value is.
  size_t add(const Expression& tree, int depth, bool asked) {
    const size_t left = tree.left->op ? add(*tree.left, depth + 1, true) : 0;
    const size_t right = tree.right->op ? add(*tree.right, depth + 1, true) : 0;
    std::string input = tree.input();
    const auto found = share_subtrees && asked ? by_input.find(input) : by_input.end();
    size_t index = nodes.size();
    if (found != by_input.end()) {
      index = found->second;
    } else {
      if (share_subtrees && asked) by_input[input] = index;
      nodes.push_back({.tree = &tree, .input = std::move(input), .left = left, .right = right, .asked = asked});
      for (const auto& [child, side] : {std::pair{tree.left, left}, std::pair{tree.right, right}})
        if (child->op) {
          nodes[side].parents.push_back(index);
          ++nodes[index].waiting;
        }
    }
    Node& node = nodes[index];
    node.depth = std::max(node.depth, depth);
    node.uses += depth > 0;
    return index;
  }
};

void InnerResults::add(const InnerResults& other) {
  for (const auto& [level, counts] : other.by_level) {
    by_level[level].first += counts.first;
    by_level[level].second += counts.second;
  }
  asked += other.asked;
}

std::string first_number(const std::string& text) {
  const size_t begin = text.find_first_of("0123456789");
  if (begin == std::string::npos) return "";
  const size_t end = std::min(text.find_first_not_of("0123456789", begin), text.size());
  const bool negative = begin > 0 && text[begin - 1] == '-';
  return text.substr(begin - negative, end - begin + negative);
}

std::string SelfWriter::before_value(const Forest& forest, const Node& node) const {
  std::string text;
  write_before_value(*node.tree, settings_.form, [&](std::string_view part) { text += part; },
                     [&](const Expression& child) {
                       // The children that are nodes come in their order.
                       text += forest.nodes[&child == node.tree->left ? node.left : node.right].scratchpad();
                     });
  return text;
}

void SelfWriter::draw(const Forest& forest, const Node& node, size_t indent, std::string& text) {
  const std::string value = std::to_string(node.tree->value);
  text += std::string(2 * indent, ' ') + node.input + " = ";
  if (!node.asked) text += value;
  else text += node.result + (node.result == value ? "" : "   WRONG: " + value);
  text += '\n';
  if (node.tree->left->op) draw(forest, forest.nodes[node.left], indent + 1, text);
  if (node.tree->right->op) draw(forest, forest.nodes[node.right], indent + 1, text);
}

std::string SelfWriter::result_of(std::string text) const {
  const size_t end = std::min(text.find(')'), text.size());
  text.resize(std::min(end, static_cast<size_t>(settings_.max_answer_length) + 1));
  return settings_.clean ? first_number(text) : text;
}

void SelfWriter::ask(const SharedGenerator& generator, Forest& forest, const std::vector<size_t>& indices) const {
  const auto longest_result = static_cast<size_t>(settings_.max_answer_length) + 1;  // with its sign
  Prompts prompts;
  std::vector<size_t> asked;
  for (const size_t index : indices) {
    Node& node = forest.nodes[index];
    node.before_value = before_value(forest, node);
    const size_t longest = node.before_value.size() + longest_result + 1;
    node.too_long = node.too_long || node.before_value.size() + 2 > static_cast<size_t>(settings_.max_total_length) ||
                    !format_.fits(node.input.size(), longest);
    if (node.too_long || !node.asked) continue;
    format_.append_prompt(node.input, node.before_value, prompts);
    asked.push_back(index);
  }
  if (asked.empty()) return;
  const std::vector<std::string> texts =
      generate_texts(generator, format_, prompts,
                     {.max_new_tokens = static_cast<int>(longest_result), .end_tokens = {format_.id_of(')')}});
  for (size_t i = 0; i < asked.size(); ++i) forest.nodes[asked[i]].result = result_of(texts[i]);
}

std::vector<SelfWritten> SelfWriter::write(const SharedGenerator& generator, std::span<const Expression* const> trees,
                                           const Request& request, InnerResults& inner) const {
  Forest forest{.share_subtrees = settings_.share_subtrees};
  std::vector<size_t> roots;
  for (const Expression* tree : trees) roots.push_back(tree->op ? forest.add(*tree, 0, request.with_root) : 0);

  std::vector<size_t> ready;
  for (size_t i = 0; i < forest.nodes.size(); ++i)
    if (forest.nodes[i].waiting == 0) ready.push_back(i);
  while (!ready.empty()) {
    std::vector<size_t> now;
    if (settings_.topological) {
      std::stable_sort(ready.begin(), ready.end(),
                       [&](size_t a, size_t b) { return forest.nodes[a].depth > forest.nodes[b].depth; });
      const auto end = ready.begin() + static_cast<ptrdiff_t>(std::min(request.at_once, ready.size()));
      now.assign(ready.begin(), end);
      ready.erase(ready.begin(), end);
    } else {
      now.swap(ready);
    }
    ask(generator, forest, now);
    for (const size_t index : now)
      for (const size_t parent : forest.nodes[index].parents) {
        Node& above = forest.nodes[parent];
        above.too_long = above.too_long || forest.nodes[index].too_long;
        if (--above.waiting == 0) ready.push_back(parent);
      }
  }

  for (const Node& node : forest.nodes) {
    if (node.too_long || !node.asked) continue;
    ++inner.asked;
    if (node.uses == 0) continue;
    auto& [right, all] = inner.by_level[node.tree->level];
    all += node.uses;
    if (node.result == std::to_string(node.tree->value)) right += node.uses;
  }
  std::vector<SelfWritten> written;
  for (size_t i = 0; i < trees.size(); ++i) {
    if (!trees[i]->op) {
      written.emplace_back();
      continue;
    }
    const Node& root = forest.nodes[roots[i]];
    written.push_back({root.before_value, root.result, "", root.too_long});
    if (request.drawn) draw(forest, root, 0, written.back().tree);
  }
  return written;
}

}  // namespace engine
