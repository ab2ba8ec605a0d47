#include "bench/steps/scoring.h"

#include <algorithm>
#include <numeric>

#include "tasks/thought/search.h"

namespace engine {

float score_rows(CachedScorer& scorer, const std::vector<std::vector<int32_t>>& rows) {
  const ArenaScope scope(scorer.arena());
  std::vector<CachedScorer::Piece> pieces;
  int64_t longest = 0;
  for (const std::vector<int32_t>& row : rows) {
    const std::span all(row);
    const auto slot = static_cast<int64_t>(pieces.size());
    pieces.push_back({.slot = slot, .tokens = all.first(row.size() - 1), .labels = all.subspan(1)});
    longest = std::max(longest, std::ssize(row) - 1);
  }
  scorer.begin({.slots = std::ssize(rows), .rows = longest});
  CachedScorer::Scores scores;
  scorer.score(pieces, scores);
  return std::accumulate(scores.losses.begin(), scores.losses.end(), 0.0f) / static_cast<float>(scores.losses.size());
}

float search_rows(CachedScorer& scorer, int32_t thought, const std::vector<std::vector<int32_t>>& rows,
                  int64_t passes) {
  Random random(1, 0);
  const SearchResult result = search_thoughts(scorer, thought, rows, SearchWay::token, passes, random);
  float gain = 0;
  for (const Trial& trial : result.trials) gain += trial.gain;
  return gain / static_cast<float>(result.trials.size());
}

AxeWork::AxeWork(Ops& ops, Model& model, DType compute, std::vector<std::string> rows)
    : rows_(std::move(rows)),
      tokenizer_(make_problem_tokenizer({})),
      format_(*tokenizer_, BlotchLevels(config_), config_),
      scorer_(ops, model, compute, format_) {}

float AxeWork::step() {
  float sum = 0;
  size_t count = 0;
  for (const AxeScores& scores : scorer_.score(rows_, 0)) {
    sum = std::accumulate(scores.losses.begin(), scores.losses.end(), sum);
    count += scores.losses.size();
  }
  return sum / static_cast<float>(count);
}

int64_t AxeWork::tokens() const {
  int64_t count = 0;
  for (const std::string& row : rows_) count += static_cast<int64_t>(format_.tokens_of(row.size()));
  return count;
}

}  // namespace engine
