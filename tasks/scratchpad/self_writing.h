// The model writes the results of these scratchpads itself. It starts with a tree's innermost nodes, and each result is
// its greedy answer to
//   source: the node's own input       answer so far: "(" left op right "="
// with left and right the children's scratchpads as the model has written them. A result ends where the model closes
// the parenthesis or ends its answer, or after as many characters as a value has at most. Anything it wrote is kept,
// even an empty text or no number, since that is what it believes.
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
  bool clean = false;        // keeps only the first whole number of a result
  // In rounds, all nodes whose children are done are generated at once. In topological order, the deepest waiting nodes
  // are, as many as fit at a time. Both write the same.
  bool topological = false;
  bool share_subtrees = true;  // a repeated subtree is generated once
};

// Holds a tree's scratchpad up to its root's "=" and, where it was wanted, the root's result.
struct SelfWritten {
  std::string before_value, value;
  std::string tree;       // drawn, a node a line, where wanted
  bool too_long = false;  // longer than max_total_length or the model's positions, so the rest is unusable
};

// Counts results below the root, how often they came and how often they were right, by the level of their subtrees.
struct InnerResults {
  std::map<int, std::pair<int64_t, int64_t>> by_level;  // right, all
  int64_t asked = 0;                                    // results that the model generated

  void add(const InnerResults& other);
};

class SelfWriter {
 public:
  SelfWriter(const ExampleFormat& format, const SelfWritingSettings& settings) : format_(format), settings_(settings) {}

  struct Request {
    bool with_root = false;  // generates the roots' values, too
    bool drawn = false;      // fills SelfWritten::tree
    size_t at_once = 256;    // most nodes of a topological pass
  };
  // Writes one for each tree. A leaf's scratchpad is empty.
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

// Returns the first whole number in a text, with its sign, or nothing where there is none.
std::string first_number(const std::string& text);

}  // namespace engine
