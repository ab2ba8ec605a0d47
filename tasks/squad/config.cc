#include "tasks/squad/config.h"

namespace engine {

void SquadConfig::declare(Options& options) {
  options.add("squad.max_length", max_length, between(1, 1 << 20),
              "tokens of a window at most: question, a part of the context and the special tokens");
  options.add("squad.doc_stride", doc_stride, between(0, 1 << 20),
              "tokens of the context that a window has in common with the one before it")
      .needs([this] { return window_step == 0; }, "squad.window_step = 0");
  options.add("squad.window_step", window_step, between(0, 1 << 20),
              "tokens of the context behind which the next window begins, as BERT's doc_stride has it; 0: "
              "squad.doc_stride counts");
  options.add("squad.max_query_length", max_query_length, between(1, 1 << 20),
              "tokens of a question at most; the rest of a longer one is left out");
  options.add("squad.windows_in_memory", windows_in_memory, between(0, 1 << 20),
              "MiB of a training's tokens that are kept in memory; more are in a file in the run folder that is mapped "
              "into memory")
      .may_change();
  options.add("squad.version_2", version_2, "a question may have no answer in its context, as in SQuAD 2.0");
  options.add("squad.null_score_diff_threshold", null_score_diff_threshold, any_value(),
              "the answer is empty where the score of no answer is more than this above the best answer's")
      .needs([this] { return version_2; }, "squad.version_2 = true");
  options.add("squad.n_best_size", n_best_size, between(1, 1000),
              "beginnings and ends of a window that are combined, and answers that are kept");
  options.add("squad.max_answer_length", max_answer_length, between(1, 1 << 20), "tokens of an answer at most");
  options.add("squad.whole_words", whole_words, "no answer begins or ends within a word, as run_qa's may");
  options.add("squad.search_null_threshold", search_null_threshold,
              "an evaluation also tells with which squad.null_score_diff_threshold exact_match and f1 would be best")
      .needs([this] { return version_2; }, "squad.version_2 = true");
  options.add("squad.merge", merge, one_of({"best", "logits", "probabilities"}),
              "how the windows of a question give its answers: best: the best pair of any window; logits and "
              "probabilities: the mean over windows, strides and models of what they say of each character");
  options.add("squad.strides", strides,
              "more values of squad.doc_stride, each of which reads the contexts of an evaluation or prediction once "
              "more")
      .needs([this] { return merge != "best"; }, "squad.merge = \"logits\" or \"probabilities\"");
  options.add("squad.max_contents", max_contents, at_least(0),
              "words of a context that an evaluation or prediction reads, from its beginning; 0: all");
  options.add("squad.start_weight", start_weight, at_least(0), "weight of the loss of where an answer begins");
  options.add("squad.end_weight", end_weight, at_least(0), "weight of the loss of where an answer ends");
  options.add("squad.negative_weight", negative_weight, at_least(0),
              "weight of the loss of a window that does not hold the answer");
  declare_recipe(options);
  options.add("squad.samples", samples, at_least(0), "questions that each evaluation shows, half of them mistakes");
  options.add("squad.jaccard_alpha", jaccard_alpha, between(0.0, 1.0),
              "share of a target on the answer's own token; the rest is spread over tokens by the Jaccard of the "
              "answer and the span that would begin or end there; 1: none is spread");
  options.add("squad.segmentation_weight", segmentation_weight, at_least(0),
              "weight of the loss of which tokens the answer covers; 0: none");
}

void SquadConfig::declare_recipe(Options& options) {
  options.add("squad.file_weights", file_weights,
              "a number for each file of data.train: how often an epoch takes each of its questions, such as 5 or 0.5, "
              "of which each epoch draws a half; empty: once");
  options.add("squad.languages", languages, "only questions in these languages are read; empty: in any");
  options.add("squad.language", language, any_value(), "the language of questions whose file does not say it");
  options.add("squad.folds", folds, between(0, 1000),
              "parts into which the questions of files without a fold are divided by their contexts; 0: these are "
              "always trained on")
      .needs([this] { return fold >= 0; }, "squad.fold, the part that is not trained on");
  options.add("squad.fold", fold, between(-1, 999),
              "the part of data.train that is not trained on, and evaluated where data.eval is empty; -1: none");
  options.add("squad.paragraphs", paragraphs, one_of({"document", "gold"}),
              "of a training: gold: the line that holds the answer is the context; document: all of it");
  options.add("squad.negatives", negatives, one_of({"none", "uniform", "hard"}),
              "of a training: uniform: lines without the answer are contexts of their own, without an answer; hard: "
              "those that squad.negative_scores make likely");
  options.add("squad.min_paragraph_length", min_paragraph_length, at_least(0), "characters of such a line at least")
      .needs([this] { return negatives != "none" || score_negatives; },
             "squad.negatives = \"uniform\" or \"hard\", or squad.score_negatives = true");
  options.add("squad.negative_scores", negative_scores, "hard: files that predict wrote with squad.score_negatives")
      .needs([this] { return negatives == "hard"; }, "squad.negatives = \"hard\"");
  options.add("squad.negative_ratio", negative_ratio, at_least(0),
              "hard: negatives of a question in an epoch on average, drawn by their scores; 0: all whose score is "
              "above 0.5")
      .needs([this] { return negatives == "hard"; }, "squad.negatives = \"hard\"");
  options.add("squad.score_negatives", score_negatives,
              "predict also writes negative_scores.json: for each line without the answer how likely the model finds "
              "an answer there; with squad.fold only of that fold, which the model was not trained on");
  options.add("squad.remove_multi_answer_sentences", remove_multi_answer_sentences,
              "of a training: lines that repeat the answer's text are left out");
  options.add("squad.shuffle_sentences", shuffle_sentences, "of a training: the sentences of a line change places");
  options.add("squad.confusing_sentences", confusing_sentences, between(0, 1),
              "of a training: the share of questions whose context gets a sentence at its end that looks like the "
              "answer's, but speaks of something else");
  options.add("squad.confusing_words", confusing_words, any_value(),
              "a file of lines \"word other other ...\": what such a sentence has in place of a word; empty: only "
              "numbers change")
      .needs([this] { return confusing_sentences > 0; }, "squad.confusing_sentences above 0");
  options.add("squad.word_tokens", word_tokens, one_of({"none", "lines", "sentences"}),
              "a special token before each line or sentence tells how many characters of the document stand before it");
  options.add("squad.context_token", context_token, "a special token before the context tells the document's length");
}

}  // namespace engine
