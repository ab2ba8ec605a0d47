// Scratchpads whose results the model writes itself. Of a tree, innermost nodes first, each result is what the model
// answers greedily to
//   source: the node's own input       answer so far: "(" left op right "="
// with left and right the children's scratchpads as the model has written them. A result ends where the model closes
// the parenthesis or ends its answer, or after as many characters as a value has at most; anything it wrote is kept,
// be it empty or no number, since that is what it believes.
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
  bool clean = false;        // of a result only the first whole number in it is kept
  // Rounds: all nodes whose children are done are asked at once. Topological: the deepest of those that wait, as many
  // as are generated at a time. Both write the same.
  bool topological = false;
  bool share_subtrees = true;  // a subtree that comes more than once is asked once
};

// A tree's scratchpad up to its root's "=" and, where it was asked for, the root's result.
struct SelfWritten {
  std::string before_value, value;
  std::string tree;       // drawn, a node a line, where it was asked for
  bool too_long = false;  // longer than max_total_length or the model's positions: the rest is not to be used
};

// Results below the root, how often they came and how often they were right, by the level of their subtrees.
struct InnerResults {
  std::map<int, std::pair<int64_t, int64_t>> by_level;  // right, all
  int64_t asked = 0;                                    // of the model

  void add(const InnerResults& other);
};

class SelfWriter {
 public:
  SelfWriter(const ExampleFormat& format, const SelfWritingSettings& settings) : format_(format), settings_(settings) {}

  struct Request {
    bool with_root = false;  // asks for the roots' values, too
    bool drawn = false;      // fills SelfWritten::tree
    size_t at_once = 256;    // the most nodes that topological asks at a time
  };
  // For each tree; a leaf's scratchpad is empty.
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

// The first whole number in a text, with its sign; empty where there is none.
std::string first_number(const std::string& text);

}  // namespace engine
