#include "tasks/scratchpad/config.h"

namespace engine {

void ScratchpadConfig::declare(Options& options) {
  const auto writes_itself = [this] { return explanation == "self_learned"; };
  const std::string self_learned = "scratchpad.explanation = \"self_learned\"";
  options.add("scratchpad.explanation", explanation, one_of({"oracle", "none", "self_learned"}),
              "the model's answer; oracle: every step written out; none: the value alone; self_learned: every "
              "step, the inner results as the model itself gives them");
  options.add("scratchpad.form", form, one_of({"equations", "results", "parentheses"}),
              "the scratchpad of ((1+2)*3): ((1+2=3)*3=9), ((+=3)*=9) or ((=3)=9)")
      .needs([this] { return explanation != "none"; }, "scratchpad.explanation = \"oracle\" or \"self_learned\"");
  options.add("scratchpad.batching", batching, one_of({"rounds", "topological"}),
              "self_learned: the model writes all results that it can at once, or the deepest of them, a batch at a "
              "time; both give the same")
      .needs(writes_itself, self_learned);
  options.add("scratchpad.clean_results", clean_results,
              "self_learned: keep only the first whole number of a result that the model writes")
      .needs(writes_itself, self_learned);
  options.add("scratchpad.mixture", mixture,
              "\"level:parts\" for each level that is trained on, in parts of the examples");
  options.add("scratchpad.stages", stages,
              "\"steps level:parts ...\": the mixture of the first so many steps, of the next ones, ...; then comes "
              "scratchpad.mixture");
  options.add("scratchpad.curriculum", curriculum, one_of({"none", "argmax", "epsilon_greedy", "exp3"}),
              "after the stages each step has examples of one level of the mixture, chosen by how fast its loss falls");
  options.add("scratchpad.curriculum_epsilon", curriculum_epsilon, between(0, 1),
              "epsilon_greedy and exp3: the share of steps whose level is drawn evenly")
      .needs([this] { return curriculum == "epsilon_greedy" || curriculum == "exp3"; },
             "scratchpad.curriculum = \"epsilon_greedy\" or \"exp3\"");
  options.add("scratchpad.curriculum_decay", curriculum_decay, from_up_to_below(0, 1),
              "decay of the running means of a level's loss and of its decrease")
      .needs([this] { return curriculum != "none"; }, "a scratchpad.curriculum");
  options.add("scratchpad.curriculum_rate", curriculum_rate, above(0), "exp3: how fast its weights change")
      .needs([this] { return curriculum == "exp3"; }, "scratchpad.curriculum = \"exp3\"");
  options.add("scratchpad.max_depth", max_depth, between(1, 6), "the deepest level that is evaluated");
  options.add("scratchpad.max_answer_length", max_answer_length, between(1, 9),
              "digits of every value in an expression, its sign not counted");
  options.add("scratchpad.max_total_length", max_total_length, at_least(6), "tokens of a written out expression");
  options.add("scratchpad.evaluation", evaluation,
              "ways of generating: free, help (all but the last result is given), results (all but the results is "
              "given); exact_match is the first one's; empty: results where self_learned, else free");
  options.add("scratchpad.eval_quantity", eval_quantity, at_least(1),
              "expressions evaluated of each level; of level 1 there are 300");
  options.add("scratchpad.held_out", held_out, at_least(0),
              "one in this many expressions of level 2 is kept for evaluation, and so is all that contains one; 0: "
              "none is, and expressions of evaluation may be trained on");
  options.add("scratchpad.data", data, any_value(),
              "a file of expressions that `engine expressions` wrote; empty: they are made as they are drawn");
}

}  // namespace engine
