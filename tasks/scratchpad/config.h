// [scratchpad] of a task.cfg has these options.
#pragma once

#include <string>
#include <vector>

#include "core/options.h"

namespace engine {

struct ScratchpadConfig {
  std::string explanation = "oracle";                // none oracle self_learned
  std::string form = "equations";                    // equations results parentheses
  std::string batching = "rounds";                   // how results are self-written: rounds topological
  bool clean_results = false;                        // keep only a self-written result's first number
  std::vector<std::string> mixture = {"1:1", "2:9"};  // "level:parts", this level's share of the examples
  std::vector<std::string> stages;                   // "steps level:parts ...": mixtures of the first steps
  std::string curriculum = "none";                   // none argmax epsilon_greedy exp3
  float curriculum_epsilon = 0.1f, curriculum_decay = 0.9f, curriculum_rate = 0.1f;
  int max_depth = 3;                                 // deepest level that is evaluated
  int max_answer_length = 3;                         // digits of every value in a tree, its sign not counted
  int max_total_length = 88;                         // tokens of an oracle scratchpad
  std::vector<std::string> evaluation;               // modes: free help results; empty: the explanation's own
  int eval_quantity = 1000;                          // evaluated expressions a level, none of them trained on
  int held_out = 16;                                 // one in so many of level 2 and above is not trained on; 0: none
  std::string data;                                  // a file of expressions; empty: they are generated

  void declare(Options& options);
};

}  // namespace engine
