#include "tasks/thought/asking.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "kernels/losses/cross_entropy.h"

namespace engine {

namespace {

// Returns for each token but the last the next one that is no thought; -100 where none follows.
std::vector<int32_t> next_texts(std::span<const int32_t> tokens, int32_t thought) {
  require(tokens.size() >= 2, "a sequence of ", tokens.size(), " tokens has no target: at least 2 are needed");
  std::vector<int32_t> texts(tokens.size() - 1);
  int32_t next = ignored_label;
  for (size_t i = texts.size(); i-- > 0;) texts[i] = next = tokens[i + 1] == thought ? next : tokens[i + 1];
  return texts;
}

// Returns of each sequence the losses of its texts, and behind them those of thoughts in their place.
std::vector<float> run(CachedScorer& scorer, int32_t thought, std::span<const std::vector<int32_t>> sequences,
                       std::span<const std::vector<int32_t>> texts) {
  const ArenaScope scope(scorer.arena());
  int64_t longest = 0;
  for (const std::vector<int32_t>& labels : texts) longest = std::max(longest, std::ssize(labels));
  scorer.begin({.slots = std::ssize(sequences), .rows = longest});
  std::vector<std::vector<int32_t>> thoughts(texts.begin(), texts.end());
  for (std::vector<int32_t>& labels : thoughts)
    for (int32_t& label : labels) label = label == ignored_label ? ignored_label : thought;
  CachedScorer::Scores scores[2];
  for (const size_t i : {size_t{0}, size_t{1}}) {
    std::vector<CachedScorer::Piece> pieces;
    for (size_t s = 0; s < sequences.size(); ++s)
      pieces.push_back({.slot = static_cast<int64_t>(s), .tokens = std::span(sequences[s]).first(texts[s].size()),
                        .labels = i == 0 ? texts[s] : thoughts[s]});
    scorer.score(pieces, scores[i]);
  }
  std::vector<float> losses;
  size_t at = 0;
  for (const std::vector<int32_t>& labels : texts) {
    const auto count = labels.size() - static_cast<size_t>(std::count(labels.begin(), labels.end(), ignored_label));
    for (const CachedScorer::Scores& of_kind : scores) {
      const auto begin = of_kind.losses.begin() + static_cast<ptrdiff_t>(at);
      losses.insert(losses.end(), begin, begin + static_cast<ptrdiff_t>(count));
    }
    at += count;
  }
  return losses;
}

// The positions before one token of text, as the header has them.
struct Chain {
  std::vector<double> losses, asks;  // l_k, a_k

  // Appends weights and penalties. Returns the expected loss.
  double append_to(Targets& targets) const {
    const size_t last = losses.size() - 1;
    std::vector<double> expected(losses);
    for (size_t k = last; k-- > 0;) expected[k] = (1 - asks[k]) * losses[k] + asks[k] * expected[k + 1];
    double reached = 1;
    for (size_t k = 0; k <= last; ++k) {
      const double weight = k < last ? reached * (1 - asks[k]) : reached;
      targets.weights.push_back(static_cast<float>(weight));
      targets.penalties.push_back(static_cast<float>(k < last ? weight * (expected[k + 1] - losses[k] - 1) : -weight));
      reached *= asks[k];
    }
    return expected[0];
  }
};

}  // namespace

ExpectedLoss append_expected(Machine& machine, CachedScorer& scorer, int32_t thought,
                             std::span<const std::vector<int32_t>> sequences, SequenceBatch& batch) {
  std::vector<std::vector<int32_t>> texts;
  for (const std::vector<int32_t>& tokens : sequences) texts.push_back(next_texts(tokens, thought));
  std::vector<float> own;
  for (const auto& [first, last] : machine.own_shares(std::ssize(sequences))) {
    const auto begin = static_cast<size_t>(first), count = static_cast<size_t>(last - first);
    const std::vector<float> some =
        run(scorer, thought, sequences.subspan(begin, count), std::span(texts).subspan(begin, count));
    own.insert(own.end(), some.begin(), some.end());
  }
  const std::vector<float> all = machine.communicator.gather(own);
  ExpectedLoss result;
  Chain chain;
  size_t at = 0;
  for (size_t s = 0; s < sequences.size(); ++s) {
    const std::vector<int32_t>& labels = texts[s];
    // Only thoughts at a sequence's end have no text behind them.
    const auto count_of = static_cast<size_t>(std::find(labels.begin(), labels.end(), ignored_label) - labels.begin());
    for (size_t i = 0; i < labels.size(); ++i) {
      batch.tokens.push_back(sequences[s][i]);
      batch.targets.labels.push_back(labels[i]);
      if (i >= count_of) {
        batch.targets.weights.push_back(0);
        batch.targets.penalties.push_back(0);
        continue;
      }
      const double ask = std::exp(-static_cast<double>(all[at + count_of + i]));
      const double rest = std::max(1 - ask, static_cast<double>(least_rest));
      chain.losses.push_back(static_cast<double>(all[at + i]) + std::log(rest));
      chain.asks.push_back(ask);
      if (sequences[s][i + 1] == thought) continue;
      result.loss += chain.append_to(batch.targets);
      result.targets += 1;
      chain = {};
    }
    at += 2 * count_of;
    batch.end_sequence();
  }
  return result;
}

}  // namespace engine
