// Whole passes without gradients, as searches for thoughts and questions with choices make them.
#pragma once

#include <vector>

#include "core/random.h"
#include "models/cached_scorer.h"
#include "tasks/blotching/axe.h"

namespace engine {

// Scores every token but the first of each row, in pieces behind their thoughts where the model has thought states.
// Returns the mean loss.
float score_rows(CachedScorer& scorer, const std::vector<std::vector<int32_t>>& rows);

// Searches places for `passes` thoughts in all rows together, by tokens. Returns the mean gain of the trials.
float search_rows(CachedScorer& scorer, int32_t thought, const std::vector<std::vector<int32_t>>& rows, int64_t passes);

// Scores all trials of axe: each row without each of its steps. Returns the mean loss of the whole rows.
class AxeWork {
 public:
  AxeWork(Ops& ops, Model& model, DType compute, std::vector<std::string> rows);
  float step();
  int64_t tokens() const;  // of the whole rows
  int64_t rows() const { return std::ssize(rows_); }

 private:
  const std::vector<std::string> rows_;
  const BlotchingConfig config_;
  const std::unique_ptr<Tokenizer> tokenizer_;
  const RowFormat format_;
  AxeScorer scorer_;
};

}  // namespace engine
