#include "models/generation.h"

#include <algorithm>
#include <set>

#include "models/cached_decoder.h"
#include "models/positions.h"
#include "tests/operation.h"

namespace engine::test::test_generation {

namespace {

ModelConfig tiny_config() {
  return {.hidden_size = 48,
          .num_layers = 3,
          .num_heads = 3,
          .vocab_size = 37,
          .max_positions = 40,
          // Weights are large, so that each token and position matters and generated texts vary.
          .initializer_range = 0.3f};
}

// Returns the decoders of one sequence: GPT-2 with learned and with rotary positions, and GPT-NeoX.
std::vector<ModelConfig> tiny_decoders() {
  std::vector<ModelConfig> configs(3, tiny_config());
  configs[1].own.get<PositionOptions>().positions = "rotary";
  configs[2].architecture = "gpt_neox";
  return configs;
}

std::unique_ptr<Model> random_model(Bench& bench, const ModelConfig& config = tiny_config()) {
  auto model = make_model(config);
  model->parameters().allocate(bench.arena.memory(), false);
  model->parameters().initialise(11);
  return model;
}

std::vector<int32_t> random_tokens(Random& random, size_t count) {
  std::vector<int32_t> tokens(count);
  for (int32_t& token : tokens) token = static_cast<int32_t>(random.below(37));
  return tokens;
}

std::vector<std::vector<int32_t>> random_prompts(size_t count) {
  Random random(21, 0);
  std::vector<std::vector<int32_t>> prompts;
  for (size_t i = 0; i < count; ++i) prompts.push_back(random_tokens(random, 1 + random.below(12)));
  return prompts;
}

std::vector<double> full_logits(Bench& bench, Model& model, const std::vector<int32_t>& tokens) {
  const auto count = static_cast<int64_t>(tokens.size());
  const ArenaScope scope(bench.arena);
  std::vector<int> positions(tokens.size());
  for (size_t i = 0; i < tokens.size(); ++i) positions[i] = static_cast<int>(i);
  const auto saved = model.make_saved();
  Pass pass(Run{.ops = bench.ops, .arena = bench.arena, .compute = bench.compute},
            {Segments::packed(bench.integers({2}, {0, static_cast<int>(count)}), count),
             bench.integers({count}, positions)});
  return bench.values(model_logits(pass, model, {.ids = bench.integers({count}, tokens)}, {}, *saved));
}

// Continues each prompt by the largest logit of a full forward pass over all before it, on its own.
std::vector<int32_t> greedy_without_cache(Bench& bench, Model& model, std::vector<int32_t> tokens, size_t most) {
  const size_t begin = tokens.size();
  while (tokens.size() < begin + most && static_cast<int64_t>(tokens.size()) < model.config().max_positions) {
    const auto logits = full_logits(bench, model, tokens);
    const auto last = logits.end() - model.config().vocab_size;
    tokens.push_back(static_cast<int32_t>(std::max_element(last, logits.end()) - last));
  }
  return {tokens.begin() + static_cast<ptrdiff_t>(begin), tokens.end()};
}

// Checks that the logits of two texts, read in pieces over a cache, are those of a full forward pass.
void check_incremental(Bench& bench, const ModelConfig& config) {
  const auto model = random_model(bench, config);
  Random random(5, 0);
  const std::vector<std::vector<int32_t>> texts{random_tokens(random, 17), random_tokens(random, 9)};
  const int capacity = 20;
  const auto cache = model->make_decode_state(bench.arena, bench.compute, {.slots = 2, .rows = capacity});
  // Pieces have different lengths, first a prompt, then a few tokens, then one at a time.
  std::vector<std::vector<double>> incremental(2);
  std::vector<int> cached{0, 0};
  const auto saved = model->make_saved();
  for (const std::vector<int>& piece : {std::vector<int>{7, 3}, {4, 1}, {1, 1}, {1, 1}, {3, 2}, {1, 1}}) {
    const ArenaScope scope(bench.arena);
    std::vector<int> ids, positions, rows, offsets{0}, begin, end;
    for (int s = 0; s < 2; ++s) {
      for (int t = cached[static_cast<size_t>(s)]; t < cached[static_cast<size_t>(s)] + piece[static_cast<size_t>(s)];
           ++t) {
        ids.push_back(texts[static_cast<size_t>(s)][static_cast<size_t>(t)]);
        positions.push_back(t);
        rows.push_back(s * capacity + t);
      }
      cached[static_cast<size_t>(s)] += piece[static_cast<size_t>(s)];
      offsets.push_back(static_cast<int>(ids.size()));
      begin.push_back(s * capacity);
      end.push_back(s * capacity + cached[static_cast<size_t>(s)]);
    }
    const auto count = static_cast<int64_t>(ids.size());
    cache->rows = bench.integers({count}, rows);
    cache->keys = {bench.integers({2}, begin), bench.integers({2}, end),
                  *std::max_element(cached.begin(), cached.end())};
    Pass pass(Run{.ops = bench.ops, .arena = bench.arena, .compute = bench.compute},
              {Segments::packed(bench.integers({3}, offsets), *std::max_element(piece.begin(), piece.end())),
               bench.integers({count}, positions)});
    pass.state = cache.get();
    const auto logits =
        bench.values(model_logits(pass, *model, {.ids = bench.integers({count}, ids)}, {}, *saved));
    for (size_t s = 0; s < 2; ++s)
      incremental[s].insert(incremental[s].end(), logits.begin() + offsets[s] * config.vocab_size,
                            logits.begin() + offsets[s + 1] * config.vocab_size);
  }
  // Sums in another order differ by a rounding or so a layer, magnified by the largest attention scores (about 13).
  const double tolerance = 40 * epsilon_of(bench.compute);
  for (size_t s = 0; s < 2; ++s) CHECK_CLOSE(incremental[s], full_logits(bench, *model, texts[s]), tolerance);
}

}  // namespace

TEST_CASE("generation: incremental logits are those of a full forward pass") {
  on_every_backend([](Bench& bench) {
    for (const ModelConfig& config : tiny_decoders()) {
      CAPTURE(config.architecture);
      check_incremental(bench, config);
    }
  });
}

TEST_CASE("generation: greedy tokens are those of full forward passes, whatever runs beside them") {
  on_every_backend([](Bench& bench) {
    if (bench.compute != DType::f32) return;  // in bf16 two logits may round to one
    for (const ModelConfig& config : tiny_decoders()) {
      CAPTURE(config.architecture);
      const auto model = random_model(bench, config);
      const auto prompts = random_prompts(7);
      const GenerationOptions options{.max_new_tokens = 12};
      std::vector<std::vector<int32_t>> expected;
      std::set<int32_t> different;
      for (const auto& prompt : prompts) {
        expected.push_back(greedy_without_cache(bench, *model, prompt, 12));
        different.insert(expected.back().begin(), expected.back().end());
      }
      CHECK(different.size() > 5);  // else the texts would be alike whatever was done
      for (int together : {1, 2, 3, 64}) {
        Generator generator(bench.ops, *model, bench.compute, together);
        CHECK(generator.generate(prompts, options) == expected);
        CHECK(generator.generate(prompts, options) == expected);  // a used cache is as good as a new one
      }
    }
  });
}

TEST_CASE("generation: weights are packed after some passes, and the text is the same with packed ones and without") {
  on_every_backend([](Bench& bench) {
    const auto model = random_model(bench);
    const auto prompts = random_prompts(3);
    const auto packed = [&] {
      size_t count = 0;
      for (const Parameter& p : model->parameters().all()) count += static_cast<bool>(p.packed(bench.compute));
      return count;
    };
    Generator generator(bench.ops, *model, bench.compute);
    const int few = CachedDecoder::passes_without_packing;
    generator.generate(prompts, {.max_new_tokens = few});
    const bool waits = bench.compute == DType::f32 && &bench.ops.memory() == &host_memory();
    CHECK((packed() == 0) == waits);
    const auto texts = Generator(bench.ops, *model, bench.compute).generate(prompts, {.max_new_tokens = few + 4});
    CHECK(packed() > 0);
    CHECK(generator.generate(prompts, {.max_new_tokens = few + 4}) == texts);
  });
}

TEST_CASE("generation: sampling depends on seed, index and position alone") {
  on_every_backend([](Bench& bench) {
    const auto model = random_model(bench);
    const auto prompts = random_prompts(6);
    GenerationOptions options{.temperature = 0.9f, .top_k = 12, .top_p = 0.9f, .max_new_tokens = 10, .seed = 3};
    Generator all(bench.ops, *model, bench.compute);
    const auto first = all.generate(prompts, options);
    CHECK(all.generate(prompts, options) == first);
    if (bench.compute == DType::f32) {
      Generator few(bench.ops, *model, bench.compute, 2);
      CHECK(few.generate(prompts, options) == first);
      const std::vector<std::vector<int32_t>> fewer(prompts.begin(), prompts.begin() + 3);
      CHECK(few.generate(fewer, options) == std::vector(first.begin(), first.begin() + 3));
    }
    // Equal prompts draw different numbers, and another seed draws others.
    const std::vector<std::vector<int32_t>> equal(4, prompts[0]);
    const auto texts = all.generate(equal, options);
    CHECK(std::any_of(texts.begin(), texts.end(), [&](const auto& text) { return text != texts[0]; }));
    options.seed = 4;
    CHECK(all.generate(prompts, options) != first);
  });
}

TEST_CASE("generation: sequences end with the end token, at the last position, and after max_new_tokens") {
  on_every_backend([](Bench& bench) {
    const auto model = random_model(bench);
    const auto prompts = random_prompts(5);
    Generator generator(bench.ops, *model, bench.compute, 3);
    const auto free = generator.generate(prompts, {.max_new_tokens = 1000});
    for (size_t i = 0; i < prompts.size(); ++i) CHECK(prompts[i].size() + free[i].size() == 40);
    const int32_t end = free[0][5];
    const auto ended = generator.generate(prompts, {.max_new_tokens = 1000, .end_tokens = {end}});
    for (size_t i = 0; i < prompts.size(); ++i) {
      const auto at = std::find(free[i].begin(), free[i].end(), end);
      CHECK(ended[i] == std::vector<int32_t>(free[i].begin(), at == free[i].end() ? at : at + 1));
    }
    const int32_t other = free[1][2];
    const auto ended_by_either = generator.generate(prompts, {.max_new_tokens = 1000, .end_tokens = {end, other}});
    for (size_t i = 0; i < prompts.size(); ++i) {
      const auto at = std::find_if(free[i].begin(), free[i].end(), [&](int32_t t) { return t == end || t == other; });
      CHECK(ended_by_either[i] == std::vector<int32_t>(free[i].begin(), at == free[i].end() ? at : at + 1));
    }
    for (const auto& text : generator.generate(prompts, {.max_new_tokens = 4})) CHECK(text.size() == 4);
    for (const auto& text : generator.generate(prompts, {.max_new_tokens = 0})) CHECK(text.empty());
    const std::vector<std::vector<int32_t>> full{std::vector<int32_t>(40, 1), {1}, std::vector<int32_t>(39, 1)};
    const auto at_the_end = generator.generate(full, {.max_new_tokens = 5});
    CHECK(at_the_end[0].empty());
    CHECK(at_the_end[1].size() == 5);
    CHECK(at_the_end[2].size() == 1);
    CHECK(generator.generate({}, {}).empty());
  });
}

TEST_CASE("generation: every token is reported as it comes, with its prompt") {
  on_every_backend([](Bench& bench) {
    const auto model = random_model(bench);
    const auto prompts = random_prompts(4);
    Generator generator(bench.ops, *model, bench.compute, 2);
    std::vector<std::vector<int32_t>> heard(prompts.size());
    const auto texts =
        generator.generate(prompts, {.max_new_tokens = 6}, [&](size_t i, int32_t token) { heard[i].push_back(token); });
    CHECK(heard == texts);
  });
}

TEST_CASE("generation: takes up changed weights, and packs them once for each version") {
  on_every_backend([](Bench& bench) {
    const auto model = random_model(bench);
    const auto prompts = random_prompts(4);
    Generator generator(bench.ops, *model, bench.compute, 2);
    const auto before = generator.generate(prompts, {.max_new_tokens = 8});
    for (const Parameter& p : model->parameters().all())
      CHECK(static_cast<bool>(p.packed(bench.compute)) == p.is_factor);
    const uint64_t version = model->parameters().version();
    model->parameters().initialise(12);
    CHECK(model->parameters().version() > version);
    for (const Parameter& p : model->parameters().all()) CHECK_FALSE(static_cast<bool>(p.packed(bench.compute)));
    const auto after = generator.generate(prompts, {.max_new_tokens = 8});
    CHECK(after != before);
    Generator other(bench.ops, *model, bench.compute, 2);
    CHECK(other.generate(prompts, {.max_new_tokens = 8}) == after);
  });
}

TEST_CASE("generation: an uncounted token adds to no text, and so many follow one another") {
  on_every_backend([](Bench& bench) {
    const auto model = random_model(bench);
    const auto prompts = random_prompts(6);
    Generator generator(bench.ops, *model, bench.compute, 4);
    const auto free = generator.generate(prompts, {.temperature = 3, .max_new_tokens = 12, .seed = 2});
    std::vector<int> counts(37);
    for (const auto& text : free)
      for (const int32_t token : text) ++counts[static_cast<size_t>(token)];
    const auto often = static_cast<int32_t>(std::max_element(counts.begin(), counts.end()) - counts.begin());
    REQUIRE(counts[static_cast<size_t>(often)] > 3);
    for (const int most : {0, 1, 3}) {
      // Greedy texts of so large weights repeat themselves, sampled ones do not.
      for (const float temperature : {0.0f, 3.0f}) {
        const GenerationOptions options{.temperature = temperature,
                                        .max_new_tokens = 12,
                                        .seed = 2,
                                        .uncounted = {.token = often, .most_in_a_row = most}};
        const auto texts = generator.generate(prompts, options);
        int uncounted = 0;
        for (size_t i = 0; i < texts.size(); ++i) {
          int in_a_row = 0;
          int64_t counted = 0;
          for (const int32_t token : texts[i]) {
            in_a_row = token == often ? in_a_row + 1 : 0;
            uncounted += token == often;
            counted += token != often;
            CHECK(in_a_row <= most);
          }
          CHECK((counted == 12 || prompts[i].size() + texts[i].size() == 40));
        }
        if (most > 0 && temperature > 0) CHECK(uncounted > 0);
        // Neighbours make no difference.
        if (bench.compute == DType::f32)
          CHECK(Generator(bench.ops, *model, bench.compute, 1).generate(prompts, options) == texts);
      }
    }
  });
}

TEST_CASE("generation: prompts that cannot be are errors") {
  on_every_backend([](Bench& bench) {
    const auto model = random_model(bench);
    Generator generator(bench.ops, *model, bench.compute, 2);
    const std::vector<std::vector<int32_t>> empty{{1}, {}}, long_one{std::vector<int32_t>(41, 1)}, unknown{{1, 37}},
        negative{{-1}};
    CHECK_THROWS_WITH_AS(generator.generate(empty, {}), doctest::Contains("prompt 1 is empty"), Error);
    CHECK_THROWS_WITH_AS(generator.generate(long_one, {}), doctest::Contains("41 tokens"), Error);
    CHECK_THROWS_WITH_AS(generator.generate(unknown, {}), doctest::Contains("token 37"), Error);
    CHECK_THROWS_AS(generator.generate(negative, {}), Error);
    CHECK_THROWS_AS(Generator(bench.ops, *model, bench.compute, 0), Error);
  });
}

}  // namespace engine::test::test_generation
