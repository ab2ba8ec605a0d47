// Thoughts that carry a state, in texts that are written and scored over a cache, and in saved models.
#include <nlohmann/json.hpp>

#include "core/files.h"
#include "core/json.h"
#include "models/cached_decoder.h"
#include "models/cached_scorer.h"
#include "models/huggingface.h"
#include "tests/temporary.h"
#include "tests/thinking.h"

namespace engine::test::test_cached_thoughts {

namespace {

// Every token but a row's last one predicts the one behind it.
void label_next_tokens(SequenceBatch& batch) {
  batch.targets.labels.assign(batch.tokens.size(), -100);
  for (size_t s = 0; s + 1 < batch.offsets.size(); ++s)
    for (auto i = static_cast<size_t>(batch.offsets[s]); i + 1 < static_cast<size_t>(batch.offsets[s + 1]); ++i)
      batch.targets.labels[i] = batch.tokens[i + 1];
}

std::span<const int32_t> row_of(const SequenceBatch& batch, const std::vector<int32_t>& of, size_t s) {
  return std::span(of).subspan(static_cast<size_t>(batch.offsets[s]),
                               static_cast<size_t>(batch.offsets[s + 1] - batch.offsets[s]));
}

double loss_of(std::span<const double> logits, int32_t label) {
  double highest = -INFINITY, sum = 0;
  for (const double logit : logits) highest = std::max(highest, logit);
  for (const double logit : logits) sum += std::exp(logit - highest);
  return highest + std::log(sum) - logits[static_cast<size_t>(label)];
}

// Returns the losses of the batch's labels, in its order, where the decoder is given `step` tokens of every row at
// once.
std::vector<double> decoded_losses(Thinking& thinking, size_t step) {
  const SequenceBatch& batch = thinking.batch;
  const auto rows = static_cast<size_t>(batch.sequences());
  CachedDecoder decoder(thinking.bench.ops, *thinking.model, thinking.bench.compute);
  const ArenaScope scope(decoder.arena());
  decoder.begin({.slots = static_cast<int64_t>(rows), .rows = 12});
  std::vector<double> losses(batch.tokens.size(), NAN);
  for (size_t from = 0; from < 12; from += step) {
    std::vector<CachedDecoder::Sequence> sequences;
    for (size_t s = 0; s < rows; ++s) {
      const auto tokens = row_of(batch, batch.tokens, s);
      if (from >= tokens.size()) continue;
      // Slots are in another order than rows.
      sequences.push_back({.index = s, .slot = static_cast<int64_t>(rows - 1 - s), .cached = static_cast<int64_t>(from),
                           .pending = tokens.subspan(from, std::min(step, tokens.size() - from))});
    }
    if (sequences.empty()) break;
    const ArenaScope of_pass(decoder.arena());
    const std::vector<double> logits = thinking.bench.values(decoder.logits(sequences));
    for (size_t i = 0; i < sequences.size(); ++i) {
      const auto& [index, slot, cached, pending, source_slot, source] = sequences[i];
      const size_t at = static_cast<size_t>(batch.offsets[index]) + from + pending.size() - 1;
      const int32_t label = batch.targets.labels[at];
      if (label != -100) losses[at] = loss_of(std::span(logits).subspan(13 * i, 13), label);
    }
  }
  std::vector<double> scored;
  for (size_t i = 0; i < losses.size(); ++i)
    if (batch.targets.labels[i] != -100) scored.push_back(losses[i]);
  return scored;
}

}  // namespace

TEST_CASE("cached thoughts: a text written token by token has the losses that chunks have") {
  on_every_backend([](Bench& bench) {
    for (const char* const architecture : {"gpt2", "gpt_neox"}) {
      CAPTURE(architecture);
      Thinking thinking(bench, true, false, architecture);
      label_next_tokens(thinking.batch);
      const std::vector<double> chunks = thinking.losses(ThoughtRunning{});
      CHECK_CLOSE(decoded_losses(thinking, 1), chunks, 64 * epsilon_of(bench.compute));
      // Several tokens at once, thoughts among them: the last one of each step is compared.
      std::vector<double> some = decoded_losses(thinking, 4), wanted = chunks;
      for (size_t i = some.size(); i-- > 0;)
        if (std::isnan(some[i])) {
          some.erase(some.begin() + static_cast<ptrdiff_t>(i));
          wanted.erase(wanted.begin() + static_cast<ptrdiff_t>(i));
        }
      CHECK(some.size() == 3);
      CHECK_CLOSE(some, wanted, 64 * epsilon_of(bench.compute));
    }
  });
}

TEST_CASE("cached thoughts: texts are scored whole, in pieces and behind copies alike, with the rank of the thought") {
  on_every_backend([](Bench& bench) {
    Thinking thinking(bench);
    label_next_tokens(thinking.batch);
    const SequenceBatch& batch = thinking.batch;
    const std::vector<double> expected = thinking.losses(ThoughtRunning{});
    const auto rows = static_cast<size_t>(batch.sequences());
    for (const size_t first : {size_t{12}, size_t{2}, size_t{1}, size_t{5}}) {  // tokens of the first piece
      CAPTURE(first);
      CachedScorer scorer(bench.ops, *thinking.model, bench.compute);
      const ArenaScope scope(scorer.arena());
      scorer.begin({.slots = static_cast<int64_t>(2 * rows), .rows = 12});
      std::vector<CachedScorer::Piece> heads, tails;
      std::vector<CachedScorer::Copy> copies;
      for (size_t s = 0; s < rows; ++s) {
        const auto tokens = row_of(batch, batch.tokens, s), labels = row_of(batch, batch.targets.labels, s);
        const size_t cut = std::min(first, tokens.size());
        const auto slot = static_cast<int64_t>(s), cached = static_cast<int64_t>(cut);
        heads.push_back({slot, 0, tokens.first(cut), labels.first(cut)});
        if (cut == tokens.size()) continue;
        const auto copy = static_cast<int64_t>(rows + s);
        copies.push_back({slot, copy, cached});
        tails.push_back({copy, cached, tokens.subspan(cut), labels.subspan(cut)});
      }
      CachedScorer::Scores of_heads{.wants_ranks = true, .ranked_token = thought}, of_tails{.wants_ranks = true};
      scorer.score(heads, of_heads);
      scorer.copy_slots(copies);
      if (!tails.empty()) scorer.score(tails, of_tails);
      std::vector<double> losses;
      size_t head = 0, tail = 0;
      for (size_t s = 0; s < rows; ++s) {
        const auto labels = row_of(batch, batch.targets.labels, s);
        for (size_t i = 0; i < labels.size(); ++i)
          if (labels[i] != -100) losses.push_back(i < first ? of_heads.losses[head++] : of_tails.losses[tail++]);
      }
      CHECK_CLOSE(losses, expected, 64 * epsilon_of(bench.compute));
      CHECK(of_heads.ranks.size() == of_heads.losses.size());
      // A label that is the thought has the rank of its own loss; ranks lie in 1 ... V.
      for (const int32_t rank : of_heads.ranks) CHECK((1 <= rank && rank <= 13));
    }
  });
}

TEST_CASE("cached thoughts: a model with thought states is saved under a type of its own, and loads with them") {
  on_every_backend([](Bench& bench) {
    for (const bool norm : {true, false}) {
      Thinking thinking(bench, norm);
      const TemporaryFolder folder;
      save_model(folder.path(), *thinking.model);
      const nlohmann::json config = parse_json_file(folder.path() / "config.json");
      CHECK(config["model_type"] == "engine_gpt2");
      CHECK(config["architectures"][0] == "EngineGPT2LMHeadModel");
      CHECK(config["engine_thought_states"]["token"] == thought);
      auto loaded = load_model(folder.path(), bench.arena.memory(), true);
      CHECK(loaded->config().thought_token == thought);
      CHECK(loaded->config().thought_norm == norm);
      CHECK(values_by_name(bench, *loaded) == values_by_name(bench, *thinking.model));
      const std::vector<double> losses = thinking.losses(ThoughtRunning{});
      std::swap(thinking.model, loaded);
      CHECK(thinking.losses(ThoughtRunning{}) == losses);
    }
  });
}

TEST_CASE("cached thoughts: a folder without thought states gets new ones where they are asked for, and says so") {
  on_every_backend([](Bench& bench) {
    ModelConfig config = Thinking(bench).model->config();
    config.thought_states = false;
    const auto plain = make_model(config);
    plain->parameters().allocate(bench.arena.memory(), false);
    plain->parameters().initialise(4);
    const TemporaryFolder folder;
    save_model(folder.path(), *plain);
    CHECK(!load_model(folder.path(), bench.arena.memory(), false)->thought_states());
    LoadReport report;
    const auto adjust = [](ModelConfig& model) { model.thought_states = true, model.thought_token = thought; };
    const auto loaded = load_model(folder.path(), bench.arena.memory(), true, {.adjust = adjust, .report = &report});
    CHECK(report.text() == "loaded trunk; new thought");
    CHECK(bench.values(loaded->thought_states().inject->value)[0] == 1);
    // A key that does not fit is named.
    nlohmann::json wrong = parse_json_file(folder.path() / "config.json");
    wrong["engine_thought_states"] = {{"token", 13}};
    write_file(folder.path() / "config.json", wrong.dump());
    CHECK_THROWS_AS(load_model(folder.path(), bench.arena.memory(), false), Error);
    wrong["engine_thought_states"] = true;
    write_file(folder.path() / "config.json", wrong.dump());
    CHECK_THROWS_WITH_AS(load_model(folder.path(), bench.arena.memory(), false),
                         doctest::Contains("\"engine_thought_states\" should be an object"), Error);
  });
}

}  // namespace engine::test::test_cached_thoughts
