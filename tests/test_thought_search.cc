// The episodic search beside the slow way: every trial's sequence is run as a whole, and nothing is remembered.
#include "tasks/thought/search.h"
#include "tests/thinking.h"

namespace engine::test::test_thought_search {

namespace {

using Sequences = std::vector<std::vector<int32_t>>;

Sequences some_sequences(Bench& bench, size_t count) {
  Sequences sequences;
  for (size_t s = 0; s < count; ++s) {
    std::vector<int32_t>& tokens = sequences.emplace_back();
    for (size_t i = 0; i < 5 + s % 4; ++i) tokens.push_back(static_cast<int32_t>(bench.random.below(12)));
  }
  return sequences;
}

// The loss and the rank of the thought at each position; the rank is 0 where a thought follows.
struct Looked {
  std::vector<double> losses;
  std::vector<int32_t> ranks;
};
Looked look_at(Thinking& thinking, const std::vector<int32_t>& tokens) {
  CachedScorer scorer(thinking.bench.ops, *thinking.model, thinking.bench.compute);
  const ArenaScope scope(scorer.arena());
  scorer.begin({.slots = 1, .rows = 12});
  std::vector<int32_t> labels;
  for (size_t i = 1; i < tokens.size(); ++i) labels.push_back(tokens[i] == thought ? -100 : tokens[i]);
  CachedScorer::Scores scores{.wants_ranks = true, .ranked_token = thought};
  const std::vector<CachedScorer::Piece> pieces{{0, 0, std::span(tokens).first(labels.size()), labels}};
  scorer.score(pieces, scores);
  Looked looked;
  size_t at = 0;
  for (const int32_t label : labels) {
    looked.losses.push_back(label == -100 ? 0 : static_cast<double>(scores.losses[at]));
    looked.ranks.push_back(label == -100 ? 0 : scores.ranks[at]);
    at += label != -100;
  }
  return looked;
}

// Returns the targets' losses in their order.
std::vector<double> of_targets(const Looked& looked) {
  std::vector<double> losses;
  for (size_t i = 0; i < looked.losses.size(); ++i)
    if (looked.ranks[i]) losses.push_back(looked.losses[i]);
  return losses;
}

// Mean gain of the targets behind the first `before` ones.
double gain_of(const Looked& without, const Looked& with, size_t before) {
  const std::vector<double> a = of_targets(without), b = of_targets(with);
  REQUIRE(a.size() == b.size());
  double sum = 0;
  for (size_t i = before; i < a.size(); ++i) sum += a[i] - b[i];
  return sum / static_cast<double>(a.size() - before);
}

struct SlowTrial {
  size_t sequence, place;
  double gain;
  std::vector<int32_t> tokens;
};

struct SlowSearch {
  Sequences sequences;
  std::vector<std::vector<bool>> refused;  // behind each token
  std::vector<size_t> cursors;
  std::vector<double> gains;               // of all trials
  std::vector<bool> kept;
};

SlowSearch search_slowly(Thinking& thinking, const Sequences& sequences, bool runs_through, int64_t passes) {
  SlowSearch search{sequences, {}, std::vector<size_t>(sequences.size()), {}, {}};
  for (const auto& tokens : sequences) search.refused.emplace_back(tokens.size());
  for (int64_t pass = 0; pass < passes; ++pass) {
    std::vector<SlowTrial> trials;
    for (size_t s = 0; s < sequences.size(); ++s) {
      const std::vector<int32_t>& tokens = search.sequences[s];
      const Looked looked = look_at(thinking, tokens);
      size_t begin = 0, end = tokens.size() - 1;
      if (runs_through) {
        begin = std::min(search.cursors[s], end);
        end = begin + static_cast<size_t>(
                          std::ceil(static_cast<double>(end - begin) / static_cast<double>(passes - pass)));
      }
      std::vector<size_t> open;
      for (size_t i = begin; i < end; ++i)
        if (looked.ranks[i] && !search.refused[s][i]) open.push_back(i);
      if (open.empty()) continue;
      size_t place = open[0];
      for (const size_t i : open)
        if (looked.ranks[i] < looked.ranks[place]) place = i;
      std::vector<int32_t> with = tokens;
      with.insert(with.begin() + static_cast<ptrdiff_t>(place) + 1, thought);
      size_t before = 0;  // targets before the thought
      for (size_t i = 0; i < place; ++i) before += looked.ranks[i] != 0;
      trials.push_back({s, place, gain_of(looked, look_at(thinking, with), before), with});
    }
    std::vector<const SlowTrial*> best;
    for (const SlowTrial& trial : trials) best.push_back(&trial);
    std::stable_sort(best.begin(), best.end(), [](auto* a, auto* b) { return a->gain > b->gain; });
    best.resize((best.size() + 1) / 2);
    for (const SlowTrial& trial : trials) {
      const bool keeps = std::find(best.begin(), best.end(), &trial) != best.end();
      search.gains.push_back(trial.gain);
      search.kept.push_back(keeps);
      search.cursors[trial.sequence] = trial.place + 1;
      std::vector<bool>& refused = search.refused[trial.sequence];
      if (keeps) {
        search.sequences[trial.sequence] = trial.tokens;
        refused.insert(refused.begin() + static_cast<ptrdiff_t>(trial.place) + 1, false);
      } else {
        refused[trial.place] = true;
      }
    }
  }
  return search;
}

}  // namespace

TEST_CASE("thought search: only ends are run again, and the result is that of whole sequences") {
  on_every_backend([](Bench& bench) {
    if (bench.compute != DType::f32) return;  // rounding to bf16 changes which of two close gains is larger
    for (const bool has_states : {true, false})
      for (const SearchWay way : {SearchWay::token, SearchWay::run_through}) {
        CAPTURE(has_states);
        Thinking thinking(bench);
        if (!has_states) {
          ModelConfig config = thinking.model->config();
          config.thought_states = false;
          thinking.model = make_model(config);
          thinking.model->parameters().allocate(bench.arena.memory(), false);
          thinking.model->parameters().initialise(8);
        }
        const Sequences sequences = some_sequences(bench, bench.is_device ? 3 : 7);
        const int64_t passes = bench.is_device ? 2 : 4;
        const SlowSearch slow = search_slowly(thinking, sequences, way == SearchWay::run_through, passes);
        CachedScorer scorer(bench.ops, *thinking.model, bench.compute);
        const SearchResult found = search_thoughts(scorer, thought, sequences, way, passes, bench.random);
        REQUIRE(found.sequences.size() == sequences.size());
        for (size_t s = 0; s < sequences.size(); ++s) {
          CHECK(found.sequences[s].tokens == slow.sequences[s]);
          REQUIRE(found.sequences[s].refused.size() == slow.sequences[s].size());
          for (size_t i = 0; i < slow.refused[s].size(); ++i)
            CHECK((found.sequences[s].refused[i] > 0) == slow.refused[s][i]);
        }
        std::vector<double> gains;
        std::vector<bool> kept;
        for (const Trial& trial : found.trials) {
          gains.push_back(static_cast<double>(trial.gain));
          kept.push_back(trial.kept);
        }
        CHECK(kept == slow.kept);
        CHECK_CLOSE(gains, slow.gains, 1e-3);
        // Each pass tries once in every sequence, and keeps the larger half.
        CHECK(found.trials.size() <= sequences.size() * static_cast<size_t>(passes));
        CHECK(std::count(kept.begin(), kept.end(), true) >= std::ssize(kept) / 2);
      }
  });
}

TEST_CASE("thought search: a thought that is the likeliest token comes at the first such position") {
  on_every_backend([](Bench& bench) {
    Thinking thinking(bench);
    // The output table is the embedding's. With a thought's row that all hidden states agree with most, every position
    // would write a thought.
    Model& model = *thinking.model;
    std::vector<float> bias(static_cast<size_t>(model.config().hidden_size), 3);
    model.parameters().write(model.parameters().at("final_norm.bias"), 0, std::ssize(bias), bias.data());
    Parameter& table = model.parameters().at("embedding.tokens");
    model.parameters().write(table, int64_t{thought} * std::ssize(bias), std::ssize(bias), bias.data());
    const Sequences sequences{{1, 2, 3, 4, 5, 6}, {7, 8, 9, 1}};
    CachedScorer scorer(bench.ops, model, bench.compute);
    const SearchResult found = search_thoughts(scorer, thought, sequences, SearchWay::token, 1, bench.random);
    CHECK(found.trials[0].before == 1);
    CHECK(found.trials[1].before == 7);
    // From left to right the second pass does not come back.
    const SearchResult through = search_thoughts(scorer, thought, sequences, SearchWay::run_through, 2, bench.random);
    CHECK(through.trials.size() == 4);
    CHECK((through.trials[2].before == 2 || through.trials[2].before == thought));
  });
}

TEST_CASE("thought search: of sequences with drawn thoughts the half that gains most is kept") {
  on_every_backend([](Bench& bench) {
    if (bench.compute != DType::f32) return;
    Thinking thinking(bench);
    const Sequences sequences = some_sequences(bench, 5);
    CachedScorer scorer(bench.ops, *thinking.model, bench.compute);
    const Random begin = bench.random;
    const SearchResult found = search_thoughts(scorer, thought, sequences, SearchWay::sequence, 3, bench.random);
    Random again = begin;
    CHECK(search_thoughts(scorer, thought, sequences, SearchWay::sequence, 3, again).trials.size() == 15);
    REQUIRE(found.sequences.size() == 3);
    REQUIRE(found.trials.size() == 15);
    // Those that are kept have gained more than those that are not, each as its whole sequence says.
    double least_kept = INFINITY, most_dropped = -INFINITY;
    for (const Trial& trial : found.trials) {
      double& bound = trial.kept ? least_kept : most_dropped;
      bound = trial.kept ? std::min(bound, static_cast<double>(trial.gain))
                         : std::max(bound, static_cast<double>(trial.gain));
    }
    CHECK(least_kept >= most_dropped);
    size_t kept = 0;
    for (const SearchedSequence& sequence : found.sequences) {
      std::vector<int32_t> text = sequence.tokens;
      CHECK(std::erase(text, thought) == 3);
      CHECK(std::find(sequences.begin(), sequences.end(), text) != sequences.end());
      const auto first = std::find(sequence.tokens.begin(), sequence.tokens.end(), thought);
      const double gain = gain_of(look_at(thinking, text), look_at(thinking, sequence.tokens),
                                  static_cast<size_t>(first - sequence.tokens.begin()) - 1);
      while (!found.trials[kept].kept) ++kept;
      CHECK(static_cast<double>(found.trials[kept].gain) == doctest::Approx(gain).epsilon(1e-3));
      kept += 3;
    }
  });
}

TEST_CASE("thought search: a model's own places are those where a thought is the top, from left to right") {
  on_every_backend([](Bench& bench) {
    if (bench.compute != DType::f32) return;
    Thinking thinking(bench);
    Model& model = *thinking.model;
    // A thought's row that agrees with some hidden states makes it the likeliest token at some positions.
    std::vector<float> row(static_cast<size_t>(model.config().hidden_size));
    for (float& x : row) x = 4 * bench.random.normal();
    Parameter& table = model.parameters().at("embedding.tokens");
    model.parameters().write(table, int64_t{thought} * std::ssize(row), std::ssize(row), row.data());
    const Sequences sequences = some_sequences(bench, bench.is_device ? 3 : 7);
    CachedScorer scorer(bench.ops, model, bench.compute);
    const Sequences found = own_thoughts(scorer, thought, sequences, 4, 2);
    size_t thoughts = 0, full = 0;
    for (size_t s = 0; s < sequences.size(); ++s) {
      std::vector<int32_t> slow = sequences[s];
      int count = 0, in_a_row = 0;
      for (size_t i = 0; i + 1 < slow.size() && count < 4; ++i) {
        in_a_row = slow[i] == thought ? in_a_row + 1 : 0;
        if (in_a_row == 2 || look_at(thinking, slow).ranks[i] != 1) continue;
        slow.insert(slow.begin() + static_cast<ptrdiff_t>(i) + 1, thought);
        ++count;
      }
      CHECK(found[s] == slow);
      thoughts += static_cast<size_t>(count);
      full += slow.size() == sequences[s].size() + 4;
    }
    CHECK(thoughts > 0);
    CHECK(full < sequences.size());
  });
}

TEST_CASE("thought search: what cannot be searched is refused") {
  on_every_backend([](Bench& bench) {
    Thinking thinking(bench);
    CachedScorer scorer(bench.ops, *thinking.model, bench.compute);
    CHECK(search_thoughts(scorer, thought, {}, SearchWay::token, 2, bench.random).sequences.empty());
    CHECK_THROWS_AS(search_thoughts(scorer, thought, Sequences{{1}}, SearchWay::token, 2, bench.random), Error);
    CHECK_THROWS_AS(search_thoughts(scorer, thought, Sequences{{1, 2}}, SearchWay::token, 0, bench.random), Error);
    // More passes than the model has positions.
    const Sequences full{std::vector<int32_t>(12, 3)};
    CHECK_THROWS_WITH_AS(search_thoughts(scorer, thought, full, SearchWay::token, 2, bench.random),
                         doctest::Contains("the model has positions for 12"), Error);
  });
}

}  // namespace engine::test::test_thought_search
