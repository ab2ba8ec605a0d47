// The section [squad] of a task.cfg. The names and the usual values are those of run_qa in transformers, as far as it
// has them.
#pragma once

#include <string>
#include <vector>

#include "core/options.h"

namespace engine {

struct SquadConfig {
  // windows
  int64_t windows_in_memory = 512;
  int64_t max_length = 384, doc_stride = 128, window_step = 0, max_query_length = 64;
  // answers
  bool version_2 = false;
  double null_score_diff_threshold = 0;
  bool search_null_threshold = false;
  int n_best_size = 20, max_answer_length = 30;
  bool whole_words = false;
  std::string merge = "best";  // best logits probabilities
  std::vector<std::string> strides;
  int64_t max_contents = 0;
  // loss
  double start_weight = 1, end_weight = 1, negative_weight = 1;
  // which questions of the files are read, and how often
  std::vector<std::string> file_weights, languages;
  std::string language;
  int64_t folds = 0, fold = -1;
  // what becomes of a training's contexts
  std::string paragraphs = "document";  // document gold
  std::string negatives = "none";       // none uniform hard
  int64_t min_paragraph_length = 64;
  std::vector<std::string> negative_scores;
  double negative_ratio = 1;
  bool score_negatives = false;
  bool remove_multi_answer_sentences = false, shuffle_sentences = false;
  double confusing_sentences = 0;
  std::string confusing_words;
  // tokens that tell places
  std::string word_tokens = "none";  // none lines sentences
  bool context_token = false;
  int samples = 10;
  double jaccard_alpha = 1, segmentation_weight = 0;

  void declare(Options& options);

 private:
  void declare_recipe(Options& options);
};

}  // namespace engine
