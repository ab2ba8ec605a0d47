// Scratchpads whose results the model writes itself. Each result in a tree, innermost nodes first, is the model's
// greedy answer to
//   source: the node's own input       answer so far: "(" left op right "="
// with left and right the children's scratchpads as the model has written them. A result ends where the model closes
// the parenthesis or ends its answer, or after as many characters as a value has at most. All that it wrote is kept,
// also an empty text or one that is no number, since the model believes it.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "tasks/scratchpad/examples.h"
#include "tasks/scratchpad/expressions.h"

namespace engine {

struct SelfWritingSettings {
  Form form = Form::equations;
  int max_answer_length = 3;
  int max_total_length = 88;
  bool clean = false;        // keeps a result's first whole number
  // In rounds the model answers all nodes whose children are done at once. In topological order it answers the deepest
  // of those that wait, as many as are generated at a time. Both write the same.
  bool topological = false;
  bool share_subtrees = true;  // equal subtrees are answered once
};

// A tree's scratchpad up to its root's "=", and the root's result where it was wanted.
struct SelfWritten {
  std::string before_value, value;
  std::string tree;       // drawn, a node a line, where wanted
  bool too_long = false;  // the rest is not to be used
};

// Counts results below the root, how often they came and how often they were right, by the level of their subtrees.
struct InnerResults {
  std::map<int, std::pair<int64_t, int64_t>> by_level;  // right, all
  int64_t asked = 0;                                    // answers of the model

  void add(const InnerResults& other);
};

class SelfWriter {
 public:
  SelfWriter(const ExampleFormat& format, const SelfWritingSettings& settings) : format_(format), settings_(settings) {}

  struct Request {
    bool with_root = false;  // writes the roots' values, too
    bool drawn = false;      // fills SelfWritten::tree
    size_t at_once = 256;    // most nodes, in topological order
  };
  // Writes each tree's scratchpad. A leaf's is empty.
  std::vector<SelfWritten> write(const SharedGenerator& generator, std::span<const Expression* const> trees,
                                 const Request& request, InnerResults& inner) const;

 private:
  struct Node;
  struct Forest;

  std::string before_value(const Forest& forest, const Node& node) const;
  static void draw(const Forest& forest, const Node& node, size_t indent, std::string& text);
  void ask(const SharedGenerator& generator, Forest& forest, const std::vector<size_t>& nodes) const;
  std::string result_of(std::string text) const;

  const ExampleFormat& format_;
  SelfWritingSettings settings_;
};

// The first whole number in a text, with its sign. Empty where there is none.
std::string first_number(const std::string& text);

}  // namespace engine
