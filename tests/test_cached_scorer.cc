#include "models/cached_scorer.h"

#include "models/architectures.h"
#include "tests/operation.h"
#include "training/loss_step.h"

namespace engine::test::test_cached_scorer {

namespace {

using Piece = CachedScorer::Piece;
using Tokens32 = std::vector<int32_t>;

std::unique_ptr<Model> random_model(Bench& bench) {
  auto model = make_model({.hidden_size = 48,
                           .num_layers = 3,
                           .num_heads = 3,
                           .vocab_size = 37,
                           .max_positions = 40,
                           .initializer_range = 0.3f});
  model->parameters().allocate(bench.arena.memory(), false);
  model->parameters().initialise(11);
  return model;
}

Tokens32 random_tokens(Random& random, size_t count) {
  Tokens32 tokens(count);
  for (int32_t& token : tokens) token = static_cast<int32_t>(random.below(37));
  return tokens;
}

// The losses and ranks of whole sequences, without a cache.
ScoredTokens uncached(Bench& bench, Model& model, const std::vector<Tokens32>& tokens,
                      const std::vector<Tokens32>& labels) {
  SequenceBatch batch;
  for (size_t i = 0; i < tokens.size(); ++i) {
    batch.tokens.insert(batch.tokens.end(), tokens[i].begin(), tokens[i].end());
    batch.targets.labels.insert(batch.targets.labels.end(), labels[i].begin(), labels[i].end());
    batch.end_sequence();
  }
  Communicator ranks;
  Machine machine{bench.ops, bench.arena, bench.compute, ranks};
  ScoredTokens each{.wants_losses = true, .wants_ranks = true};
  LossStep(model).evaluate(machine, batch, &each);
  return each;
}

std::vector<double> in_double(const std::vector<float>& values) { return {values.begin(), values.end()}; }

// Sums in another order differ by a rounding or so a layer, magnified by the largest attention scores (about 13).
double tolerance_of(const Bench& bench) { return 40 * epsilon_of(bench.compute); }

}  // namespace

TEST_CASE("cached scorer: pieces behind a cache have the losses and ranks of whole sequences") {
  on_every_backend([](Bench& bench) {
    const auto model = random_model(bench);
    Random random(5, 0);
    std::vector<Tokens32> tokens, labels;
    for (const size_t count : {17u, 9u, 30u}) {
      tokens.push_back(random_tokens(random, count));
      labels.push_back(random_tokens(random, count));
      for (size_t t = 0; t < count; t += 3) labels.back()[t] = -100;
    }
    const ScoredTokens whole = uncached(bench, *model, tokens, labels);
    CachedScorer scorer(bench.ops, *model, bench.compute);
    const ArenaScope scope(scorer.arena());
    scorer.begin({.slots = 5, .rows = 33});
    CachedScorer::Scores found[3];
    std::vector<size_t> done(3, 0);
    // Pieces have different lengths, and not every sequence has one in each pass.
    for (const std::vector<size_t>& lengths : {std::vector<size_t>{4, 9, 1}, {1, 0, 20}, {11, 0, 0}, {1, 0, 9}}) {
      std::vector<Piece> pieces;
      std::vector<size_t> sequences;
      for (size_t s = 0; s < 3; ++s) {
        if (!lengths[s]) continue;
        const auto part = [&](const Tokens32& all) { return std::span(all).subspan(done[s], lengths[s]); };
        pieces.push_back({.slot = static_cast<int64_t>(4 - 2 * s),
                          .cached = static_cast<int64_t>(done[s]),
                          .tokens = part(tokens[s]),
                          .labels = part(labels[s])});
        sequences.push_back(s);
        done[s] += lengths[s];
      }
      CachedScorer::Scores together{.wants_ranks = true, .losses = {}, .ranks = {}};
      scorer.score(pieces, together);
      size_t at = 0;
      for (size_t i = 0; i < pieces.size(); ++i)
        for (const int32_t label : pieces[i].labels) {
          if (label == -100) continue;
          found[sequences[i]].losses.push_back(together.losses[at]);
          found[sequences[i]].ranks.push_back(together.ranks[at++]);
        }
      CHECK(at == together.losses.size());
    }
    std::vector<float> losses;
    std::vector<int32_t> ranks;
    for (const CachedScorer::Scores& one : found) {
      losses.insert(losses.end(), one.losses.begin(), one.losses.end());
      ranks.insert(ranks.end(), one.ranks.begin(), one.ranks.end());
    }
    CHECK_CLOSE(in_double(losses), in_double(whole.losses), tolerance_of(bench));
    if (bench.compute == DType::f32) CHECK(ranks == whole.ranks);  // in bf16 two logits may round to one
  });
}

TEST_CASE("cached scorer: continuations of a copied beginning are scored as whole sequences, and so is a second try") {
  on_every_backend([](Bench& bench) {
    const auto model = random_model(bench);
    Random random(6, 0);
    const Tokens32 beginning = random_tokens(random, 12);
    std::vector<Tokens32> ends, whole_tokens, whole_labels;
    for (const size_t count : {7u, 1u, 12u}) {
      ends.push_back(random_tokens(random, count));
      Tokens32& tokens = whole_tokens.emplace_back(beginning);
      Tokens32& labels = whole_labels.emplace_back(beginning.size() - 1, -100);
      labels.insert(labels.end(), ends.back().begin(), ends.back().end());
      tokens.insert(tokens.end(), ends.back().begin(), ends.back().end() - 1);
    }
    const ScoredTokens whole = uncached(bench, *model, whole_tokens, whole_labels);
    CachedScorer scorer(bench.ops, *model, bench.compute);
    const ArenaScope scope(scorer.arena());
    scorer.begin({.slots = 3, .rows = 24});
    CachedScorer::Scores none;
    scorer.score(std::vector<Piece>{{.slot = 0, .cached = 0, .tokens = std::span(beginning).first(11)}}, none);
    CHECK(none.losses.empty());
    scorer.copy_slots(std::vector<CachedScorer::Copy>{{0, 1, 11}, {0, 2, 11}});
    std::vector<Piece> pieces;
    for (size_t i = 0; i < ends.size(); ++i)
      pieces.push_back({.slot = static_cast<int64_t>(i),
                        .cached = 11,
                        .tokens = std::span(whole_tokens[i]).subspan(11),
                        .labels = std::span(whole_labels[i]).subspan(11)});
    // The same rows of the cache are written twice.
    for (int time = 0; time < 2; ++time) {
      CachedScorer::Scores found;
      scorer.score(pieces, found);
      CHECK(found.ranks.empty());
      CHECK_CLOSE(in_double(found.losses), in_double(whole.losses), tolerance_of(bench));
    }
  });
}

TEST_CASE("cached scorer: a bidirectional piece sees what follows, as a pass without a cache does") {
  on_every_backend([](Bench& bench) {
    const auto model = random_model(bench);
    Random random(7, 0);
    const Tokens32 tokens = random_tokens(random, 10), labels = random_tokens(random, 10);
    CachedScorer scorer(bench.ops, *model, bench.compute);
    const ArenaScope scope(scorer.arena());
    scorer.begin({.slots = 1, .rows = 10});
    CachedScorer::Scores both, one, again;
    const std::vector<Piece> piece{{.slot = 0, .cached = 0, .tokens = tokens, .labels = labels}};
    scorer.score(piece, both, /*bidirectional=*/true);
    // The last token sees the same when it is run again, in one direction.
    scorer.score(std::vector<Piece>{{.slot = 0,
                                     .cached = 9,
                                     .tokens = std::span(tokens).last(1),
                                     .labels = std::span(labels).last(1)}}, again);
    const std::vector<double> last{static_cast<double>(both.losses[9])};
    CHECK_CLOSE(in_double(again.losses), last, tolerance_of(bench));
    scorer.score(piece, one);
    for (size_t t = 0; t < 9; ++t) CHECK(std::abs(both.losses[t] - one.losses[t]) > 1e-3f);

    const ArenaScope of_pass(bench.arena);
    std::vector<int> positions(10);
    for (int i = 0; i < 10; ++i) positions[static_cast<size_t>(i)] = i;
    const auto saved = model->make_saved();
    Pass pass(Run{.ops = bench.ops, .arena = bench.arena, .compute = bench.compute},
              {Segments::packed(bench.integers({2}, {0, 10}), 10), bench.integers({10}, positions)});
    pass.bidirectional = true;
    const auto logits = bench.values(
        model_logits(pass, *model, {.ids = bench.integers({10}, {tokens.begin(), tokens.end()})}, {}, *saved));
    std::vector<double> expected;
    for (size_t t = 0; t < 10; ++t) {
      double sum = 0;
      for (size_t v = 0; v < 37; ++v) sum += std::exp(logits[37 * t + v]);
      expected.push_back(std::log(sum) - logits[37 * t + static_cast<size_t>(labels[t])]);
    }
    CHECK_CLOSE(in_double(both.losses), expected, tolerance_of(bench));
  });
}

TEST_CASE("cached scorer: more tokens than a pass takes are scored in several") {
  on_every_backend([](Bench& bench) {
    if (bench.is_device || bench.compute != DType::f32) return;
    const auto model = random_model(bench);
    Random random(8, 0);
    std::vector<Tokens32> tokens, labels;
    for (size_t i = 0; i < 130; ++i) {
      tokens.push_back(random_tokens(random, 35));
      labels.push_back(random_tokens(random, 35));
    }
    CachedScorer scorer(bench.ops, *model, bench.compute);
    const ArenaScope scope(scorer.arena());
    scorer.begin({.slots = 130, .rows = 35});
    std::vector<Piece> pieces;
    for (size_t i = 0; i < 130; ++i)
      pieces.push_back({.slot = static_cast<int64_t>(i), .cached = 0, .tokens = tokens[i], .labels = labels[i]});
    CachedScorer::Scores found;
    scorer.score(pieces, found);
    const ScoredTokens whole = uncached(bench, *model, tokens, labels);
    CHECK_CLOSE(in_double(found.losses), in_double(whole.losses), tolerance_of(bench));
  });
}

TEST_CASE("cached scorer: pieces that cannot be are errors") {
  on_every_backend([](Bench& bench) {
    const auto model = random_model(bench);
    CachedScorer scorer(bench.ops, *model, bench.compute);
    const ArenaScope scope(scorer.arena());
    scorer.begin({.slots = 2, .rows = 50});
    const Tokens32 some{1, 2, 3}, unknown{1, 37}, many(41, 1);
    CachedScorer::Scores scores;
    const auto refused = [&](const std::vector<Piece>& pieces, const char* what) {
      CHECK_THROWS_WITH_AS(scorer.score(pieces, scores), doctest::Contains(what), Error);
    };
    refused({{.slot = 0, .cached = 0, .tokens = {}}}, "without tokens");
    refused({{.slot = 2, .cached = 0, .tokens = some}}, "slot 2 of 2");
    const Piece other{.slot = 1, .cached = 3, .tokens = some};
    refused({{.slot = 1, .cached = 0, .tokens = some}, other}, "two pieces of slot 1");
    refused({{.slot = 0, .cached = 48, .tokens = some}}, "rows for 50");
    refused({{.slot = 0, .cached = 0, .tokens = many}}, "positions for 40");
    refused({{.slot = 0, .cached = 0, .tokens = unknown}}, "token 37");
    refused({{.slot = 0, .cached = 0, .tokens = some, .labels = unknown}}, "2 labels");
    const auto encoder = make_model({.architecture = "bert", .hidden_size = 16, .num_layers = 1, .num_heads = 2,
                                     .vocab_size = 9, .max_positions = 8, .head = HeadKind::masked});
    CHECK_THROWS_WITH_AS(CachedScorer(bench.ops, *encoder, bench.compute), doctest::Contains("decoders"), Error);
  });
}

}  // namespace engine::test::test_cached_scorer
