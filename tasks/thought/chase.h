// Pointer chasing: n nodes lie on one cycle f, and a problem asks for the node that p hops lead to from x.
//   [3>5][0>7] ... [hops=2][3]      the n edges i>f(i) in a random order, the number of hops, and x; the answer is
//                                   f(f(3))
// Each is one token of a small vocabulary. The arms are ways to answer:
//   none      the last token of the problem predicts the answer
//   pause     p thoughts follow, and the last one predicts it
//   written   the p nodes of the chain follow, each predicted by the token before it
// A sixteenth of the problems, whatever their number of hops, is kept for evaluation.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/random.h"
#include "text/tokenizer.h"
#include "training/batch.h"

namespace engine {

// The vocabulary: n nodes, n n edges, the numbers of hops from 1 on, and the thought.
std::unique_ptr<Tokenizer> make_chase_tokenizer(int nodes, int hops, const std::string& thought);

enum class ChaseArm { none, pause, written };
ChaseArm chase_arm_of(const std::string& name);

struct ChaseProblem {
  std::vector<int32_t> prompt;  // tokens
  std::vector<int32_t> steps;   // f(x), f(f(x)), ...; the last one is the answer

  int32_t answer() const { return steps.back(); }
};

class ChaseProblems {
 public:
  ChaseProblems(int nodes, int hops) : nodes_(nodes), hops_(hops) {}

  enum class Split { training, evaluation };
  // Draws a problem with so many hops. Draws again until it is of the split.
  ChaseProblem draw(Random& random, int hops, Split split) const;

  int32_t node_token(int node) const { return node; }
  int32_t edge_token(int from, int to) const { return nodes_ + from * nodes_ + to; }
  int32_t hops_token(int hops) const { return nodes_ + nodes_ * nodes_ + hops - 1; }
  int32_t thought_token() const { return hops_token(hops_) + 1; }
  int64_t prompt_length() const { return nodes_ + 2; }
  // The most tokens of a row, whatever the arm.
  int64_t longest() const { return prompt_length() + hops_; }

  // Appends a problem as a sequence of its arm, with its labels.
  void append(const ChaseProblem& problem, ChaseArm arm, SequenceBatch& batch) const;

 private:
  int nodes_, hops_;
};

}  // namespace engine
