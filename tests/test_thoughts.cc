// Decoders with thought states, run chunk by chunk and in several passes.
#include "tests/thinking.h"

namespace engine::test::test_thoughts {

namespace {

void check_same(const std::map<std::string, std::vector<double>>& actual,
                const std::map<std::string, std::vector<double>>& expected, double tolerance) {
  CHECK(actual.size() == expected.size());
  for (const auto& [name, gradient] : expected) {
    CAPTURE(name);
    CHECK_CLOSE(actual.at(name), gradient, tolerance);
  }
}

}  // namespace

TEST_CASE("thoughts: chunk by chunk is what more passes than thoughts give, in losses and in every gradient") {
  on_every_backend([](Bench& bench) {
    for (const auto& [norm, architecture] :
         std::vector<std::pair<bool, std::string>>{{true, "gpt2"}, {false, "gpt2"}, {true, "gpt_neox"}}) {
      CAPTURE(norm);
      CAPTURE(architecture);
      Thinking thinking(bench, norm, false, architecture);
      const double tolerance = 256 * epsilon_of(bench.compute);
      const std::vector<double> exact = thinking.losses(ThoughtRunning{});
      CHECK_CLOSE(thinking.losses({.is_exact = false, .passes = 4}), exact, tolerance);
      const auto gradients = thinking.gradients(ThoughtRunning{});
      check_same(thinking.gradients({.is_exact = false, .passes = 4}), gradients, tolerance);
      check_same(thinking.gradients({.is_exact = false, .passes = 5}), gradients, tolerance);
      // A row has three thoughts, so three passes are not enough.
      if (bench.compute != DType::f32) continue;
      CHECK(relative_difference(thinking.losses({.is_exact = false, .passes = 3}), exact) > 1e-3);
      CHECK(relative_difference(thinking.gradients({.is_exact = false, .passes = 3}).at("thought.mixture.inject"),
                                gradients.at("thought.mixture.inject")) > 1e-3);
    }
  });
}

TEST_CASE("thoughts: the gradients of chunks and of passes are derivatives, with dropout and without") {
  on_every_backend([](Bench& bench) {
    if (bench.compute != DType::f32) return;
    Thinking thinking(bench, true, true);
    for (const ThoughtRunning& running : {ThoughtRunning{}, ThoughtRunning{.is_exact = false, .passes = 3}}) {
      CAPTURE(running.is_exact);
      check_derivatives_of(bench, thinking.model->parameters(), 32, [&](bool training, bool) {
        LossStep step(*thinking.model, std::make_unique<CrossEntropyObjective>(*thinking.model),
                      make_thought_runner(*thinking.model, running));
        const ArenaScope scope(bench.arena);
        const Tensor totals = bench.zeros({3});
        Pass pass(Run{.ops = bench.ops, .arena = bench.arena, .compute = bench.compute}, {},
                  {.is_active = training, .seed = 5, .step = 3});
        step.run(pass, thinking.batch, 0, thinking.batch.sequences(), 1, totals);
        const std::vector<double> sums = bench.values(totals);
        return std::vector<double>(static_cast<size_t>(sums[1]), sums[0] / sums[1]);
      });
    }
  });
}

TEST_CASE("thoughts: recomputation, slices and threads change nothing") {
  on_every_backend([](Bench& bench) {
    Thinking thinking(bench, true, true);
    for (const bool is_exact : {true, false}) {
      CAPTURE(is_exact);
      const auto runner = [&] { return make_thought_runner(*thinking.model, {.is_exact = is_exact}); };
      const auto whole = thinking.gradients(runner(), true);
      check_same(thinking.gradients(runner(), true, true), whole, 64 * epsilon_of(bench.compute));
      const auto still = thinking.gradients(runner());
      check_same(thinking.gradients(runner(), false, false, 2), still, 256 * epsilon_of(bench.compute));
      check_same_at_any_thread_count([&] {
        std::vector<double> all = thinking.losses(runner());
        for (const auto& [name, gradient] : thinking.gradients(runner(), true)) append(all, gradient);
        return all;
      });
    }
  });
}

TEST_CASE("thoughts: rows without thoughts are run as a model without thought states runs them") {
  on_every_backend([](Bench& bench) {
    Thinking thinking(bench);
    for (int32_t& token : thinking.batch.tokens) token = token == thought ? 3 : token;
    const double tolerance = 64 * epsilon_of(bench.compute);
    const std::vector<double> plain = thinking.losses(make_plain_runner(*thinking.model));
    const auto gradients = thinking.gradients(make_plain_runner(*thinking.model));
    for (const bool is_exact : {true, false}) {
      CHECK_CLOSE(thinking.losses({.is_exact = is_exact}), plain, tolerance);
      check_same(thinking.gradients({.is_exact = is_exact}), gradients, tolerance);
    }
  });
}

TEST_CASE("thoughts: detached passes have the gradient of the last pass with its states given") {
  on_every_backend([](Bench& bench) {
    Thinking thinking(bench, false);
    const auto detached = thinking.gradients({.is_exact = false, .passes = 4, .detached = true});
    const auto full = thinking.gradients({.is_exact = false, .passes = 4});
    // The weights that make the states have no gradient, and those that read them have one.
    for (const double of_capture : detached.at("thought.mixture.capture")) CHECK(of_capture == 0);
    CHECK(relative_difference(detached.at("thought.mixture.inject"), full.at("thought.mixture.inject")) > 1e-3);
    CHECK(relative_difference(detached.at("embedding.tokens"), full.at("embedding.tokens")) > 1e-3);
    // The last pass alone, on the same states: one that begins with the states that three passes gave.
    const ArenaScope scope(bench.arena);
    Model& model = *thinking.model;
    BatchUpload upload;
    const DeviceBatch slice = upload.send(bench.arena, model, thinking.batch, 0, thinking.batch.sequences());
    const Tensor inject = bench.integers({6}, {2, 5, 6, 14, 17, 20});
    const Tensor before = bench.integers({6}, {1, 4, 5, 13, 16, 19});
    const auto pass_of = [&](bool keep) {
      Pass pass(Run{.ops = bench.ops, .arena = bench.arena, .compute = bench.compute, .keep = keep,
                    .gradients = &model.parameters().gradients()}, slice.layout);
      return pass;
    };
    // Captures behind three passes, as the fourth one would inject it.
    std::vector<Tensor> states(1);
    for (int i = 0; i < 3; ++i) {
      Pass pass = pass_of(false);
      ThoughtTap tap(model.thought_states());
      const Tensor captured = bench.zeros({6, 12});
      tap.begin(states.back() ? inject : Tensor{}, states.back(), before, captured);
      pass.tap = &tap;
      const auto saved = model.make_saved();
      model.hidden_states(pass, slice.tokens, *saved);
      states.push_back(captured);
    }
    model.parameters().gradients().zero();
    Pass pass = pass_of(true);
    ThoughtRecurrence recurrence(model);
    const Tensor hidden = recurrence.passes(pass, slice.tokens.ids, {inject, before}, 1, false, states.back());
    CrossEntropyObjective objective(model);
    recurrence.backward(pass, objective.run(pass, hidden, slice, {.totals = bench.zeros({3})}));
    check_same(gradients_by_name(ModelRun{bench, model}), detached, 64 * epsilon_of(bench.compute));
  });
}

TEST_CASE("thoughts: passes that begin with the states of an exact run are exact at once") {
  on_every_backend([](Bench& bench) {
    Thinking thinking(bench);
    const double tolerance = 256 * epsilon_of(bench.compute);
    const std::vector<double> exact = thinking.losses(ThoughtRunning{});
    for (const int64_t passes : {1, 2})
      CHECK_CLOSE(thinking.losses({.is_exact = false, .passes = passes, .begins_exact = true}), exact, tolerance);
    // One pass over given states has the gradient of the last of many passes, and is not the whole one.
    const auto given = thinking.gradients({.is_exact = false, .passes = 1, .begins_exact = true});
    check_same(given, thinking.gradients({.is_exact = false, .passes = 4, .detached = true}), tolerance);
    // Through more passes than thoughts it is.
    check_same(thinking.gradients({.is_exact = false, .passes = 4, .begins_exact = true}),
               thinking.gradients(ThoughtRunning{}), tolerance);
    // Slices have states of their own.
    check_same(thinking.gradients(make_thought_runner(*thinking.model, {.is_exact = false, .passes = 2,
                                                                        .begins_exact = true}), false, false, 2),
               thinking.gradients({.is_exact = false, .passes = 2, .begins_exact = true}), tolerance);
    // Rows without thoughts have no states.
    for (int32_t& token : thinking.batch.tokens) token = token == thought ? 3 : token;
    CHECK_CLOSE(thinking.losses({.is_exact = false, .passes = 1, .begins_exact = true}),
                thinking.losses(make_plain_runner(*thinking.model)), tolerance);
  });
}

TEST_CASE("thoughts: a model without thought states, a row beyond the positions are refused") {
  on_every_backend([](Bench& bench) {
    Thinking thinking(bench);
    ModelConfig config = thinking.model->config();
    config.thought_states = false;
    const auto plain = make_model(config);
    CHECK_THROWS_WITH_AS(make_thought_runner(*plain, {}), "the model has no thought states", Error);
    for (int32_t& position : (thinking.batch.positions.resize(thinking.batch.tokens.size()), thinking.batch.positions))
      position = 12;
    CHECK_THROWS_WITH_AS(thinking.losses(ThoughtRunning{}),
                         "a sequence has a token at position 12, the model 12 positions", Error);
  });
}

}  // namespace engine::test::test_thoughts
