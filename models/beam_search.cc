#include "models/beam_search.h"

#include <algorithm>
#include <cmath>

#include "core/activity.h"
#include "core/parallel.h"

namespace engine {

namespace {

using Sequence = CachedDecoder::Sequence;

struct Candidate {
  float score;
  size_t beam;
  int32_t token;

  // Puts the likelier candidate first, and the earlier one of two equals.
  bool operator<(const Candidate& b) const {
    return score != b.score ? score > b.score : std::pair(beam, token) < std::pair(b.beam, b.token);
  }
};

// Finds the `most` likeliest continuations of a beam, in order, from the logits of its next token.
void find_likeliest(std::span<const float> logits, float score, size_t beam, size_t most,
                    std::vector<Candidate>& found) {
  found.clear();
  const float largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (float logit : logits) sum += static_cast<double>(std::exp(logit - largest));
  const float log_sum = largest + static_cast<float>(std::log(sum));
  for (size_t token = 0; token < logits.size(); ++token) {  // found is a heap with the least likely on top
    const Candidate candidate{score + (logits[token] - log_sum), beam, static_cast<int32_t>(token)};
    if (found.size() == most) {
      if (!(candidate < found.front())) continue;
      std::pop_heap(found.begin(), found.end());
      found.pop_back();
    }
    found.push_back(candidate);
    std::push_heap(found.begin(), found.end());
  }
  std::sort_heap(found.begin(), found.end());
}

// This is the search for one prompt. All its beams are equally long.
class Search {
 public:
  struct Beam {
    std::vector<int32_t> tokens;  // new tokens only
    float score = 0;
    int64_t slot = 0;
  };
  size_t index = 0;         // index of the prompt
  int64_t place = 0;        // owns slots place * beams ... and source slot `place`
  std::vector<Beam> beams;  // one at first, the likeliest first
  std::vector<BeamResult> ended;  // best first

  Search(size_t index_, int64_t place_, int64_t prompt_size, int64_t gain, const GenerationOptions& options)
      : index(index_), place(place_), prompt_size_(prompt_size), gain_(gain), options_(&options) {
    beams.push_back({.tokens = {}, .slot = place * options.beams});
  }

  // Returns how many tokens the cache holds once the present pass has run.
  int64_t cached() const { return prompt_size_ + static_cast<int64_t>(beams[0].tokens.size()); }
  // Returns the token that generation must put next, or -1.
  int32_t forced_token() const {
    if (prompt_size_ == 1 && beams[0].tokens.empty() && options_->first_token >= 0) return options_->first_token;
    return static_cast<int64_t>(beams[0].tokens.size()) + 1 == gain_ ? options_->last_token : -1;
  }

  // Continues the best of the candidates, which are in order. Adds the moves that the cache needs to `copies`. Returns
  // false when the search is over.
  bool advance(std::span<const Candidate> candidates, std::vector<CachedDecoder::Copy>& copies) {
    const size_t most = static_cast<size_t>(options_->beams), length = beams[0].tokens.size() + 1;
    const float divisor = std::pow(static_cast<float>(length), options_->length_penalty);
    const bool is_at_limit = static_cast<int64_t>(length) == gain_;
    std::vector<Beam> next;
    std::vector<size_t> parents;
    for (size_t rank = 0; rank < candidates.size(); ++rank) {
      const auto& [score, beam, token] = candidates[rank];
      const bool ends = is_at_limit || options_->ends(token);
      if (ends ? rank >= most : next.size() == most) continue;
      std::vector<int32_t> tokens = beams[beam].tokens;
      tokens.push_back(token);
      if (ends) {
        ended.push_back({std::move(tokens), score / divisor});
      } else {
        next.push_back({std::move(tokens), score});
        parents.push_back(beam);
      }
    }
    std::stable_sort(ended.begin(), ended.end(), [](const auto& a, const auto& b) { return a.score > b.score; });
    if (ended.size() > most) ended.resize(most);
    const bool is_full = ended.size() == most;
    if (next.empty() || (is_full && (options_->early_stopping || next[0].score / divisor <= ended.back().score)))
      return false;
    give_slots(next, parents, copies);
    beams = std::move(next);
    return true;
  }

 private:
  // Lets a beam's first child keep its slot. The others get copies in free slots.
  void give_slots(std::vector<Beam>& next, const std::vector<size_t>& parents,
                  std::vector<CachedDecoder::Copy>& copies) const {
    std::vector<int64_t> free;
    for (int64_t i = options_->beams; i-- > 0;) free.push_back(place * options_->beams + i);
    std::vector<bool> is_kept(beams.size(), false);
    for (size_t parent : parents) {
      if (!is_kept[parent]) std::erase(free, beams[parent].slot);
      is_kept[parent] = true;
    }
    for (size_t i = 0; i < next.size(); ++i) {
      const size_t parent = parents[i];
      next[i].slot = beams[parent].slot;
      if (is_kept[parent]) {
        is_kept[parent] = false;
        continue;
      }
      next[i].slot = free.back();
      free.pop_back();
      copies.push_back({beams[parent].slot, next[i].slot, cached()});
    }
  }

  int64_t prompt_size_, gain_;
  const GenerationOptions* options_;
};

// Runs a pass and returns its logits on the host.
std::vector<float> logits_of(CachedDecoder& decoder, std::span<const Sequence> sequences) {
  const ArenaScope scope(decoder.arena());
  const Tensor logits = decoder.logits(sequences);
  std::vector<float> host(static_cast<size_t>(logits.count()));
  decoder.arena().memory().copy_out(host.data(), logits.data, logits.bytes());
  return host;
}

// Returns each search's continuations, in order.
std::vector<std::vector<Candidate>> candidates_of(const std::vector<Search>& searches, std::span<const float> logits,
                                                  size_t vocab_size, size_t most) {
  struct Row {
    const Search* search;
    size_t beam;
    std::vector<Candidate> found;
  };
  std::vector<Row> rows;
  for (const Search& search : searches)
    for (size_t beam = 0; beam < search.beams.size(); ++beam) rows.push_back({&search, beam, {}});
  parallel_for(static_cast<int64_t>(rows.size()), [&](int64_t i) {
    auto& [search, beam, found] = rows[static_cast<size_t>(i)];
    const float score = search->beams[beam].score;
    const int32_t forced = search->forced_token();
    if (forced >= 0) found.push_back({score, beam, forced});
    else find_likeliest(logits.subspan(static_cast<size_t>(i) * vocab_size, vocab_size), score, beam, most, found);
  });
  std::vector<std::vector<Candidate>> candidates;
  size_t row = 0;
  for (const Search& search : searches) {
    std::vector<Candidate>& all = candidates.emplace_back();
    for (size_t beam = 0; beam < search.beams.size(); ++beam, ++row)
      all.insert(all.end(), rows[row].found.begin(), rows[row].found.end());
    std::sort(all.begin(), all.end());
    if (all.size() > most) all.resize(most);
  }
  return candidates;
}

}  // namespace

std::vector<BeamResult> beam_search(CachedDecoder& decoder, std::span<const std::vector<int32_t>> prompts,
                                    std::span<const std::vector<int32_t>> sources, const GenerationOptions& options,
                                    size_t max_sequences) {
  require(options.beams >= 2, "a search with ", options.beams, " beams: at least 2");
  require(options.temperature == 0, "beam search draws no tokens: temperature ", options.temperature);
  decoder.check(prompts, sources);
  const auto beams = static_cast<size_t>(options.beams), vocab_size = static_cast<size_t>(decoder.config().vocab_size);
  const auto gain = [&](size_t i) { return tokens_to_gain(decoder.config(), prompts[i], options); };
  const size_t continuations = std::max<size_t>(2, 1 + options.end_tokens.size()) * beams;
  const size_t most_searches = std::clamp(max_sequences / beams, size_t{1}, std::max(prompts.size(), size_t{1}));
  DecodeSizes sizes{.slots = static_cast<int64_t>(most_searches * beams)};
  for (size_t i = 0; i < prompts.size(); ++i)
    sizes.rows = std::max(sizes.rows, static_cast<int64_t>(prompts[i].size()) + gain(i));
  for (const auto& source : sources)
    sizes.source_rows = std::max(sizes.source_rows, static_cast<int64_t>(source.size()));
  sizes.source_slots = sources.empty() ? 0 : static_cast<int64_t>(most_searches);
  const ArenaScope scope(decoder.arena());
  decoder.begin(sizes);

  std::vector<BeamResult> results(prompts.size());
  Activity activity("generating", "texts", std::ssize(prompts));
  std::vector<Search> searches;
  std::vector<int64_t> free_places;
  for (size_t place = most_searches; place-- > 0;) free_places.push_back(static_cast<int64_t>(place));
  std::vector<Sequence> sequences;
  std::vector<CachedDecoder::Copy> copies;
  for (size_t next = 0;;) {
    for (; next < prompts.size() && !free_places.empty(); ++next) {
      if (gain(next) < 1) continue;
      searches.emplace_back(next, free_places.back(), static_cast<int64_t>(prompts[next].size()), gain(next), options);
      free_places.pop_back();
    }
    if (searches.empty()) return results;
    sequences.clear();
    for (const Search& search : searches)
      for (const Search::Beam& beam : search.beams) {
        const bool is_new = beam.tokens.empty();
        Sequence& sequence = sequences.emplace_back();
        sequence.index = search.index;
        sequence.slot = beam.slot;
        sequence.source_slot = search.place;
        sequence.pending = is_new ? std::span<const int32_t>(prompts[search.index]) : std::span(beam.tokens).last(1);
        sequence.cached = search.cached() - static_cast<int64_t>(sequence.pending.size());
        if (is_new && !sources.empty()) sequence.source = sources[search.index];
      }
    const std::vector<float> logits = logits_of(decoder, sequences);
    const auto candidates = candidates_of(searches, logits, vocab_size, continuations);
    copies.clear();
    for (size_t i = 0; i < searches.size(); ++i) {
      Search& search = searches[i];
      if (search.advance(candidates[i], copies)) continue;
      results[search.index] = std::move(search.ended.front());
      activity.add(1);
      free_places.push_back(search.place);
      search.beams.clear();
    }
    std::erase_if(searches, [](const Search& search) { return search.beams.empty(); });
    decoder.copy_slots(copies);
  }
}

}  // namespace engine
