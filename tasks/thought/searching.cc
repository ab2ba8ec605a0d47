#include "tasks/thought/searching.h"

#include <algorithm>

#include "tasks/thought/samples.h"

namespace engine {

namespace {

// Keeps the draws of a search apart from every other use of the seed.
constexpr uint64_t search_stream = uint64_t{0x7365} << 48;

// Returns sequences as whole numbers, for the other ranks: of each its length, tokens and refusals.
std::vector<int32_t> numbers_of(const SearchResult& result) {
  std::vector<int32_t> numbers;
  for (const SearchedSequence& sequence : result.sequences) {
    numbers.push_back(static_cast<int32_t>(sequence.tokens.size()));
    numbers.insert(numbers.end(), sequence.tokens.begin(), sequence.tokens.end());
    numbers.insert(numbers.end(), sequence.refused.begin(), sequence.refused.end());
  }
  return numbers;
}

}  // namespace

SearchResult ThoughtSearch::run(Machine& machine, CachedScorer& scorer,
                                std::span<const std::vector<int32_t>> sequences, uint64_t seed) const {
  const auto size = static_cast<size_t>(config_.search_group);
  const auto groups = static_cast<int64_t>((sequences.size() + size - 1) / size);
  const auto [first, last] = machine.communicator.share(groups);
  SearchResult own;
  for (auto group = static_cast<size_t>(first); group < static_cast<size_t>(last); ++group) {
    const size_t begin = group * size, count = std::min(size, sequences.size() - begin);
    Random random(seed, search_stream | group);
    SearchResult found = search_thoughts(scorer, thought_, sequences.subspan(begin, count),
                                         search_way_of(config_.search), config_.search_passes, random);
    std::move(found.sequences.begin(), found.sequences.end(), std::back_inserter(own.sequences));
    own.trials.insert(own.trials.end(), found.trials.begin(), found.trials.end());
  }
  std::vector<int32_t> trials;
  std::vector<float> gains;
  for (const Trial& trial : own.trials) {
    trials.insert(trials.end(), {trial.before, trial.kept});
    gains.push_back(trial.gain);
  }
  Communicator& ranks = machine.communicator;
  const std::vector<int32_t> numbers = ranks.gather(numbers_of(own)), all_trials = ranks.gather(trials);
  const std::vector<float> all_gains = ranks.gather(gains);
  SearchResult result;
  for (auto at = numbers.begin(); at != numbers.end();) {
    const int32_t length = *at++;
    result.sequences.push_back({{at, at + length}, {at + length, at + 2 * length}});
    at += 2 * length;
  }
  for (size_t i = 0; i < all_gains.size(); ++i)
    result.trials.push_back({all_trials[2 * i], all_gains[i], all_trials[2 * i + 1] != 0});
  return result;
}

std::vector<std::vector<int32_t>> ThoughtSearch::own_places(Machine& machine, CachedScorer& scorer,
                                                            std::span<const std::vector<int32_t>> sequences) const {
  std::vector<int32_t> own;
  for (const auto& [first, last] : machine.own_shares(std::ssize(sequences))) {
    const auto part = sequences.subspan(static_cast<size_t>(first), static_cast<size_t>(last - first));
    for (const std::vector<int32_t>& tokens :
         own_thoughts(scorer, thought_, part, config_.count, config_.most_in_a_row)) {
      own.push_back(static_cast<int32_t>(tokens.size()));
      own.insert(own.end(), tokens.begin(), tokens.end());
    }
  }
  const std::vector<int32_t> numbers = machine.communicator.gather(own);
  std::vector<std::vector<int32_t>> result;
  for (auto at = numbers.begin(); at != numbers.end(); at += 1 + *at) result.emplace_back(at + 1, at + 1 + *at);
  return result;
}

size_t ThoughtSearch::kind_of(int32_t token) const {
  if (token == thought_) return 4;
  const std::string text = tokenizer_.decode(std::vector<int32_t>{token}, false);
  if (text.empty()) return 5;
  const auto last = static_cast<unsigned char>(text.back());
  return std::isalpha(last) ? 0 : std::isdigit(last) ? 1 : std::isspace(last) ? 2 : std::ispunct(last) ? 3 : 5;
}

void ThoughtSearch::count(const SearchResult& result, double seconds) {
  seconds_ += seconds;
  for (const Trial& trial : result.trials) {
    ++tried_;
    if (!trial.kept) continue;
    ++kept_;
    gain_ += static_cast<double>(trial.gain);
    ++kept_after_[kind_of(trial.before)];
  }
}

Metrics ThoughtSearch::log(double seconds_now) {
  Metrics metrics{{"insertions_tried", tried_}};
  if (tried_ > 0) metrics.emplace_back("accepted_share", kept_ / tried_);
  if (kept_ > 0) {
    metrics.emplace_back("gain", gain_ / kept_);
    for (size_t i = 0; i < kinds.size(); ++i)
      metrics.emplace_back(std::string("thoughts_after_").append(kinds[i]), kept_after_[i] / kept_);
  }
  if (last_log_ >= 0) metrics.emplace_back("search_share", seconds_ / std::max(seconds_now - last_log_, 1e-9));
  last_log_ = seconds_now;
  tried_ = kept_ = gain_ = seconds_ = 0;
  kept_after_ = {};
  return metrics;
}

void ThoughtSearch::append(const SearchedSequence& sequence, SequenceBatch& batch) const {
  const std::vector<int32_t>& tokens = sequence.tokens;
  for (size_t i = 0; i + 1 < tokens.size(); ++i) {
    const bool asks = tokens[i + 1] == thought_;
    batch.tokens.push_back(tokens[i]);
    batch.targets.labels.push_back(asks && config_.reinforce == 0 ? -100 : tokens[i + 1]);
    if (config_.reinforce > 0) batch.targets.weights.push_back(asks ? config_.reinforce : 1);
    if (config_.punish > 0)
      batch.targets.penalties.push_back(!asks && sequence.refused[i] > 0 ? config_.punish : 0);
  }
  batch.end_sequence();
}

std::string ThoughtSearch::text_of(const SearchedSequence& sequence) const {
  return text_with_thoughts(tokenizer_, sequence.tokens, thought_, "shown");
}

}  // namespace engine
