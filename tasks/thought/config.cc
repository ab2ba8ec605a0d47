#include "tasks/thought/config.h"

namespace engine {

void ThoughtConfig::declare(Options& options) {
  const auto text = [this] { return is_text(); };
  const auto chase = [this] { return data == "chase"; };
  const std::string for_text = "thought.data = \"text\"", for_chase = "thought.data = \"chase\"";
  options.add("thought.data", data, one_of({"text", "chase"}),
              "text: the documents of data.train; chase: problems that take some steps, which are made as they are "
              "drawn");
  options.add("thought.token", token, any_value(),
              "the thought, a special token; where the tokenizer lacks it, it takes the first row of the model's "
              "vocabulary that no token has");
  options.add("thought.recurrence", recurrence, one_of({"none", "exact", "passes"}),
              "what a thought reads of the token before it; none: its keys and values, as any token does; exact: its "
              "state, too, rows run piece by piece from thought to thought; passes: the same by several runs of whole "
              "rows, which is an approximation where a row has as many thoughts or more");
  options.add("thought.unroll", unroll, at_least(1), "the runs of a row, of which the last one carries the loss")
      .needs([this] { return recurrence == "passes"; }, "thought.recurrence = \"passes\"");
  options.add("thought.detach", detach, "no gradient goes through the runs before the last one")
      .needs([this] { return recurrence == "passes"; }, "thought.recurrence = \"passes\"");
  options.add("thought.initial", initial, one_of({"none", "exact"}),
              "what the first run injects; none: nothing; exact: the states that thoughts have when rows are run piece "
              "by piece, as a search has found them, at the cost of one more run without a gradient")
      .needs([this] { return recurrence == "passes"; }, "thought.recurrence = \"passes\"");
  options.add("thought.norm", norm, "a layernorm on the states that thoughts get")
      .needs([this] { return recurrence != "none"; }, "thought.recurrence");
  options.add("thought.context", context, at_least(2), "tokens that a sequence has at most")
      .needs(text, for_text);
  options.add("thought.min_piece", min_piece, at_least(2),
              "a document is cut into pieces of context + 1 tokens; an end shorter than this is dropped")
      .needs(text, for_text);
  options.add("thought.documents", documents, one_of({"apart", "joined"}),
              "the documents of a packed row; apart: each is a sequence of its own; joined: the row is one sequence, "
              "in which they see those before them")
      .needs(text, for_text);
  options.add("thought.count", count, at_least(0),
              "thoughts of a sequence, for which as many tokens are dropped at its end; a sequence too short for them "
              "has none")
      .needs(text, for_text);
  options.add("thought.places", places, one_of({"random", "none", "searched"}),
              "the places of the thoughts in training; random: drawn evenly; none: the same tokens without thoughts; "
              "searched: where they help most, as thought.search says. Evaluations have random places")
      .needs(text, for_text);
  declare_search(options);
  options.add("thought.expectation", expectation,
              "the loss of a token behind thoughts is its expectation over asking for each or not, by the probability "
              "that the model gives to the thought")
      .needs([this] { return is_text() && places != "none" && count > 0; },
             "thought.places = \"random\" or \"searched\", and thought.count");
  options.add("thought.questions", questions,
              "files of multiple choice to evaluate on, a line each: {\"context\": ..., \"completions\": [...], "
              "\"answer\": index}")
      .needs(text, for_text);
  options.add("thought.prefix_lm", prefix_lm, "the contexts of questions are seen in both directions")
      .needs(text, for_text);
  options.add("thought.before_completion", before_completion, at_least(0),
              "thoughts put before each completion of a question")
      .needs(text, for_text);
  options.add("thought.samples", samples, at_least(0), "texts generated at each evaluation, as [generation] says")
      .needs(text, for_text);
  options.add("thought.sample_prompt", sample_prompt, any_value(),
              "the beginning of these texts; empty: the start of a document")
      .needs(text, for_text);
  options.add("thought.show", show, one_of({"shown", "hidden", "counted"}),
              "the thoughts that the model writes in these texts; counted: their number behind the text")
      .needs(text, for_text);
  options.add("thought.most_in_a_row", most_in_a_row, at_least(0),
              "thoughts that the model may write one after another in these texts, and where it is evaluated on places "
              "of its own choice")
      .needs(text, for_text);
  options.add("thought.arm", arm, one_of({"none", "pause", "written"}),
              "none: the answer follows the problem; pause: a thought a hop lies between, which carries a state where "
              "thought.recurrence says so; written: every step is written")
      .needs(chase, for_chase);
  options.add("thought.nodes", nodes, between(4, 64), "nodes of the cycle that is followed").needs(chase, for_chase);
  options.add("thought.hops", hops, between(1, 64), "the most steps of a problem").needs(chase, for_chase);
  options.add("thought.curriculum", curriculum,
              "problems begin with one hop; one more comes with a running accuracy above .9, or after 300 steps")
      .needs(chase, for_chase);
  options.add("thought.eval_problems", eval_problems, at_least(1), "problems evaluated for each number of hops")
      .needs(chase, for_chase);
}

void ThoughtConfig::declare_search(Options& options) {
  const auto searched = [this] { return searches(); };
  const std::string for_search = "thought.places = \"searched\"";
  options.add("thought.search", search, one_of({"token", "run_through", "sequence"}),
              "token: each pass tries a thought in every sequence where the model is likeliest to write one, and keeps "
              "the better half; run_through: the same from left to right; sequence: thoughts at random places, and the "
              "better half of the sequences is kept")
      .needs(searched, for_search);
  options.add("thought.search_passes", search_passes, at_least(1),
              "trials in each sequence, at most thought.count; in the search of sequences their thoughts")
      .needs(searched, for_search);
  options.add("thought.search_group", search_group, at_least(2), "sequences whose gains are compared")
      .needs(searched, for_search);
  options.add("thought.reinforce", reinforce, at_least(0.0f),
              "weight of the loss of a thought where one was kept; 0: thoughts are no targets")
      .needs(searched, for_search);
  options.add("thought.punish", punish, at_least(0.0f),
              "weight of the penalty -log(1 - p) on a thought where one was refused")
      .needs(searched, for_search);
}

}  // namespace engine
