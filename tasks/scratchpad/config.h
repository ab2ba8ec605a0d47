// The section [scratchpad] of a task.cfg.
#pragma once

#include <string>
#include <vector>

#include "core/options.h"

namespace engine {

struct ScratchpadConfig {
  std::string explanation = "oracle";                // none oracle self_learned
  std::string form = "equations";                    // equations results parentheses
  std::string batching = "rounds";                   // rounds topological
  bool clean_results = false;                        // keeps a result's first number
  std::vector<std::string> mixture = {"1:1", "2:9"};  // "level:parts" of the examples
  std::vector<std::string> stages;                   // "steps level:parts ..."
  std::string curriculum = "none";                   // none argmax epsilon_greedy exp3
  float curriculum_epsilon = 0.1f, curriculum_decay = 0.9f, curriculum_rate = 0.1f;
  int max_depth = 3;                                 // deepest level of evaluation
  int max_answer_length = 3;                         // digits, without the sign
  int max_total_length = 88;                         // tokens of an oracle scratchpad
  std::vector<std::string> evaluation;               // free help results
  int eval_quantity = 1000;                          // evaluated expressions a level
  int held_out = 16;                                 // one in so many, 0 none
  std::string data;                                  // a file, may be empty

  void declare(Options& options);
};

}  // namespace engine
