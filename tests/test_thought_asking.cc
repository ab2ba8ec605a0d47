// The loss of a token as its expectation over asking for thoughts.
#include "tasks/thought/asking.h"
#include "tests/thinking.h"

namespace engine::test::test_thought_asking {

namespace {

// A thought at the beginning, side by side, none, and before no text.
const std::vector<std::vector<int32_t>> sequences{
    {1, 2, thought, 3, 4, thought, thought, 5, 6}, {7, 8, 9}, {thought, 1, thought, thought}, {2, thought, 11}};

// The probability of each token behind each but the last, by a run of the sequence alone that scores one token.
double probability_of(Thinking& thinking, std::span<const int32_t> tokens, size_t position, int32_t token) {
  CachedScorer scorer(thinking.bench.ops, *thinking.model, thinking.bench.compute);
  const ArenaScope scope(scorer.arena());
  scorer.begin({.slots = 1, .rows = 12});
  std::vector<int32_t> labels(position + 1, -100);
  labels.back() = token;
  CachedScorer::Scores scores;
  const std::vector<CachedScorer::Piece> pieces{{0, 0, tokens.first(position + 1), labels}};
  scorer.score(pieces, scores);
  return std::exp(-static_cast<double>(scores.losses.at(0)));
}

// The expected loss of the text behind `position`.
double expected_loss(Thinking& thinking, std::span<const int32_t> tokens, size_t position) {
  size_t text = position + 1;
  while (tokens[text] == thought) ++text;
  const double ask = probability_of(thinking, tokens, position, thought);
  const double loss = -std::log(probability_of(thinking, tokens, position, tokens[text]) / (1 - ask));
  if (tokens[position + 1] != thought) return loss;
  return (1 - ask) * loss + ask * expected_loss(thinking, tokens, position + 1);
}

// A model that is likely to ask.
Thinking asking_model(Bench& bench) {
  Thinking thinking(bench);
  Model& model = *thinking.model;
  std::vector<float> row(static_cast<size_t>(model.config().hidden_size));
  for (float& x : row) x = bench.random.normal() / 2;
  model.parameters().write(model.parameters().at("embedding.tokens"), int64_t{thought} * std::ssize(row),
                           std::ssize(row), row.data());
  return thinking;
}

}  // namespace

TEST_CASE("asking for thoughts: the expected loss is that of every way through a sequence") {
  on_every_backend([](Bench& bench) {
    if (bench.compute != DType::f32) return;
    Thinking thinking = asking_model(bench);
    double loss = 0, targets = 0;
    for (const std::vector<int32_t>& tokens : sequences)
      for (size_t i = 0; i + 1 < tokens.size(); ++i) {
        const bool has_text = std::any_of(tokens.begin() + static_cast<ptrdiff_t>(i) + 1, tokens.end(),
                                          [](int32_t token) { return token != thought; });
        if (!has_text || (i > 0 && tokens[i] == thought)) continue;
        loss += expected_loss(thinking, tokens, i);
        targets += 1;
      }
    Machine machine{bench.ops, bench.arena, bench.compute, thinking.alone};
    CachedScorer scorer(bench.ops, *thinking.model, bench.compute);
    SequenceBatch batch;
    const ExpectedLoss found = append_expected(machine, scorer, thought, sequences, batch);
    CHECK(found.targets == targets);
    CHECK(found.loss == doctest::Approx(loss).epsilon(1e-5));
    CHECK(batch.sequences() == std::ssize(sequences));
    // Each target counts once, however many positions share it.
    CHECK(batch.weight() == doctest::Approx(targets).epsilon(1e-6));
    CHECK_THROWS_AS(append_expected(machine, scorer, thought, std::vector<std::vector<int32_t>>{{1}}, batch), Error);
  });
}

TEST_CASE("asking for thoughts: weights and penalties give the derivative of the expected loss") {
  on_every_backend([](Bench& bench) {
    if (bench.compute != DType::f32) return;
    Thinking thinking = asking_model(bench);
    Machine machine{bench.ops, bench.arena, bench.compute, thinking.alone};
    CachedScorer scorer(bench.ops, *thinking.model, bench.compute);
    check_derivatives_of(bench, thinking.model->parameters(), 32, [&](bool, bool) {
      SequenceBatch batch;
      const ExpectedLoss expected = append_expected(machine, scorer, thought, sequences, batch);
      LossStep step(*thinking.model, std::make_unique<CrossEntropyObjective>(*thinking.model),
                    make_thought_runner(*thinking.model, {}));
      const ArenaScope scope(bench.arena);
      const Tensor totals = bench.zeros({3});
      Pass pass(Run{.ops = bench.ops, .arena = bench.arena, .compute = bench.compute}, {}, {});
      step.run(pass, batch, 0, batch.sequences(), 1, totals);
      bench.finish();
      return std::vector<double>(static_cast<size_t>(expected.targets), expected.loss / expected.targets);
    });
  });
}

}  // namespace engine::test::test_thought_asking
