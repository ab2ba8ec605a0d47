// The section [squad] of a task.cfg. The names and the usual values are those of run_qa in transformers.
#pragma once

#include "core/options.h"

namespace engine {

struct SquadConfig {
  int64_t max_length = 384, doc_stride = 128, max_query_length = 64;
  bool version_2 = false;
  double null_score_diff_threshold = 0;
  int n_best_size = 20, max_answer_length = 30;
  double start_weight = 1, end_weight = 1, negative_weight = 1;
  int samples = 10;

  void declare(Options& options);
};

}  // namespace engine
