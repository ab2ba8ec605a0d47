#include "tasks/blotching/axe.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "models/architectures.h"

namespace engine {

namespace {

constexpr int64_t most_slots = 1024;

// A row with the token of its level, or with a hole, as the model reads it.
SequenceBatch read_of(const RowFormat& format, std::string_view row, int level, const std::vector<bool>& left_out) {
  SequenceBatch batch;
  format.append(row, level, left_out, batch);
  return batch;
}

double mean(std::span<const float> numbers) {
  return std::accumulate(numbers.begin(), numbers.end(), 0.0) / static_cast<double>(numbers.size());
}

}  // namespace

AxeScorer::AxeScorer(Ops& ops, Model& model, DType compute, const RowFormat& format)
    : scorer_(ops, model, compute),
      copies_(architecture_of(model.config()).has_attention),
      format_(format) {}

std::vector<AxeScores> AxeScorer::score(std::span<const std::string> rows, int level) {
  std::vector<AxeScores> all;
  for (size_t first = 0, last; first < rows.size(); first = last) {
    DecodeSizes sizes;
    for (last = first; last < rows.size(); ++last) {
      const auto slots = static_cast<int64_t>(1 + steps_of(equal_signs(rows[last])));
      if (last > first && sizes.slots + slots > most_slots) break;
      sizes.slots += slots;
      sizes.rows = std::max(sizes.rows, static_cast<int64_t>(format_.tokens_of(rows[last].size())));
    }
    score_some(rows.subspan(first, last - first), level, sizes, all);
  }
  return all;
}

void AxeScorer::score_some(std::span<const std::string> rows, int level, const DecodeSizes& sizes,
                           std::vector<AxeScores>& all) {
  const ArenaScope scope(scorer_.arena());
  scorer_.begin(sizes);
  std::vector<SequenceBatch> reads;
  std::vector<CachedScorer::Piece> whole, trials;
  std::vector<CachedScorer::Copy> copies;
  for (const std::string& row : rows) reads.push_back(read_of(format_, row, level, {}));
  const size_t rows_read = reads.size();
  for (const std::string& row : rows)
    for (size_t step = 0, steps = steps_of(equal_signs(row)); step < steps; ++step) {
      std::vector<bool> left_out(steps, false);
      left_out[step] = true;
      reads.push_back(read_of(format_, row, level, left_out));
    }
  // The labels of the problem's own tokens count for neither.
  for (size_t i = 0, trial = rows_read, slot = 0; i < rows_read; ++i) {
    const std::vector<size_t> places = equal_signs(rows[i]);
    SequenceBatch& read = reads[i];
    std::fill_n(read.targets.labels.begin(), format_.tokens_of(places[0]), -100);
    const auto own = static_cast<int64_t>(slot++);
    whole.push_back({.slot = own, .tokens = read.tokens, .labels = read.targets.labels, .positions = read.positions});
    for (size_t step = 0; step < steps_of(places); ++step, ++trial, ++slot) {
      SequenceBatch& part = reads[trial];
      const size_t before = format_.tokens_of(places[step]), cached = copies_ ? before : 0;
      std::fill_n(part.targets.labels.begin(), before, -100);
      const auto behind = [&](const std::vector<int32_t>& list) {
        return list.empty() ? std::span<const int32_t>{} : std::span(list).subspan(cached);
      };
      const auto from = static_cast<int64_t>(cached);
      if (copies_) copies.push_back({.from = own, .to = static_cast<int64_t>(slot), .rows = from});
      trials.push_back({.slot = static_cast<int64_t>(slot),
                        .cached = from,
                        .tokens = behind(part.tokens),
                        .labels = behind(part.targets.labels),
                        .positions = behind(part.positions)});
    }
  }
  CachedScorer::Scores of_rows, of_trials{.wants_ranks = true};
  scorer_.score(whole, of_rows);
  if (!trials.empty()) {
    if (copies_) scorer_.copy_slots(copies);
    scorer_.score(trials, of_trials);
  }
  size_t at = 0, at_trial = 0;
  for (const std::string& row : rows) {
    const std::vector<size_t> places = equal_signs(row);
    const auto take = [](const auto& list, size_t& from, size_t count) {
      const auto begin = list.begin() + static_cast<ptrdiff_t>(from);
      from += count;
      return std::vector(begin, begin + static_cast<ptrdiff_t>(count));
    };
    AxeScores& scores = all.emplace_back();
    scores.losses = take(of_rows.losses, at, row.size() - places[0]);
    const size_t answer = row.size() - places.back();
    for (size_t step = 0; step < steps_of(places); ++step) {
      const size_t count = row.size() - places[step + 1];
      const auto end_of_ranks = of_trials.ranks.begin() + static_cast<ptrdiff_t>(at_trial + count);
      const bool is_right = std::all_of(end_of_ranks - static_cast<ptrdiff_t>(answer), end_of_ranks,
                                        [](int32_t rank) { return rank == 1; });
      scores.trials.push_back({take(of_trials.losses, at_trial, count), is_right});
    }
  }
}

AxeChoice choose_step(std::string_view row, const AxeScores& scores, const BlotchingConfig& config) {
  const std::vector<size_t> places = equal_signs(row);
  AxeChoice best;
  for (size_t step = 0; step < scores.trials.size(); ++step) {
    const AxeScores::Trial& trial = scores.trials[step];
    if (!trial.is_answer_right) continue;
    // The tokens behind the hole, up to the end of the last step that is compared, or the row's.
    const size_t last = step + 1 + static_cast<size_t>(std::max<int64_t>(config.axe_comp_steps, 0));
    const size_t hole_end = places[step + 1];
    const size_t end = config.axe_comp_steps > 0 && last < places.size() ? places[last] : row.size();
    const size_t count = end - hole_end;
    double without = mean(std::span(trial.losses).first(count));
    double with = mean(std::span(scores.losses).subspan(hole_end - places[0], count));
    if (config.axe_use_ppl) without = std::exp(without), with = std::exp(with);
    const double difference = without - with;
    if (best.step < 0 || difference < best.difference)
      best = {static_cast<int32_t>(step), difference, difference / with};
  }
  if (!(best.difference < config.abs_axe_tol && best.ratio < config.rel_axe_tol)) best.step = -1;
  return best;
}

}  // namespace engine
