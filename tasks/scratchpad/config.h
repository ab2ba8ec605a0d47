// [scratchpad] of a task.cfg.
#pragma once

#include <string>
#include <vector>

#include "core/options.h"

namespace engine {

struct ScratchpadConfig {
  std::string explanation = "oracle";                // none oracle
  std::vector<std::string> mixture = {"1:1", "2:9"};  // "level:parts": what part of the examples has this level
  int max_depth = 3;                                 // the deepest level that is evaluated
  int max_answer_length = 3;                         // digits of every value in a tree, its sign not counted
  int max_total_length = 88;                         // tokens of an oracle scratchpad
  int eval_quantity = 1000;                          // expressions a level that are evaluated, of those not trained on
  int held_out = 16;                                 // one in this many of level 2 and above is not trained on

  void declare(Options& options);
};

}  // namespace engine
