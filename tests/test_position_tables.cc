// Sinusoidal and random positions of a decoder.
#include <cmath>
#include <map>

#include "core/host_copy.h"
#include "models/architectures.h"
#include "models/huggingface.h"
#include "models/positions.h"
#include "tests/model_checks.h"
#include "tests/task_settings.h"
#include "tests/temporary.h"
#include "training/drawn_positions.h"

namespace engine::test::test_position_tables {

namespace {

constexpr int64_t width = 24, positions = 19;

ModelConfig config_with(const std::string& kind, const std::function<void(PositionTableOptions&)>& change = {}) {
  ModelConfig config{.hidden_size = width, .num_layers = 2, .num_heads = 3, .vocab_size = 23,
                     .max_positions = positions, .dropout = 0.1f, .initializer_range = 0.3f};
  config.own.get<PositionOptions>().positions = kind;
  if (change) change(config.own.get<PositionTableOptions>());
  return config;
}

std::unique_ptr<Model> model_of(Bench& bench, const ModelConfig& config) {
  auto model = make_model(config);
  model->parameters().allocate(bench.arena.memory(), true);
  model->parameters().initialise(5);
  return model;
}

Batch some_batch() {
  Batch batch{{1, 5, 7, 2, 9, 9, 3, 22, 0, 4, 6, 8, 10, 12}, {0, 3, 10, 14}};
  return batch;
}

// Every kind of table, each with dropout of positions and without.
void on_every_table(const std::function<void(const ModelRun&)>& check) {
  on_every_backend([&](Bench& bench) {
    for (const std::string kind : {"learned", "sinusoidal", "random"})
      for (const bool trained : {false, true})
        for (const float dropout : {0.0f, 0.3f}) {
          if (kind == "learned" && trained) continue;
          CAPTURE(kind);
          CAPTURE(trained);
          CAPTURE(dropout);
          const auto model = model_of(bench, config_with(kind, [&](auto& own) {
            own.trained = trained, own.dropout = dropout;
          }));
          check({bench, *model});
        }
  });
}

SequenceBatch rows_of(const std::vector<int32_t>& lengths) {
  SequenceBatch batch;
  for (const int32_t length : lengths) {
    batch.tokens.resize(batch.tokens.size() + static_cast<size_t>(length), 1);
    batch.targets.labels.resize(batch.tokens.size(), 2);
    batch.end_sequence();
  }
  return batch;
}

}  // namespace

TEST_CASE("position tables: one that is not trained is added to the embeddings, as one that is and has its values") {
  on_every_backend([](Bench& bench) {
    for (const std::string table : {"normal", "sinusoidal"}) {
      CAPTURE(table);
      std::vector<float> values(static_cast<size_t>(width * positions));
      if (table == "normal") write_normal_positions(values.data(), positions, width);
      else write_sinusoids(values.data(), positions, width);
      const auto fixed = model_of(bench, config_with("random", [&](auto& own) { own.random_table = table; }));
      const auto learned = model_of(bench, config_with("learned"));
      Parameter& own = learned->parameters().at("embedding.positions");
      learned->parameters().write(own, 0, own.shape.count(), values.data());
      CHECK(fixed->parameters().find("embedding.positions") == nullptr);
      CHECK(same_bits(ModelRun(bench, *fixed).logits(some_batch()), ModelRun(bench, *learned).logits(some_batch())));
      if (table == "normal") {
        double sum = 0;
        for (const float value : values) sum += static_cast<double>(value) * static_cast<double>(value);
        const double deviation = 0.1 * std::sqrt(static_cast<double>(positions) / width);
        CHECK(std::abs(std::sqrt(sum / static_cast<double>(values.size())) / deviation - 1) < 0.1);
      } else {
        CHECK(values[4 * width + 6] == doctest::Approx(std::sin(4 / std::pow(10000.0, 6.0 / width))));
        CHECK(values[4 * width + 7] == doctest::Approx(std::cos(4 / std::pow(10000.0, 6.0 / width))));
        const auto sinusoidal = model_of(bench, config_with("sinusoidal"));
        CHECK(same_bits(ModelRun(bench, *sinusoidal).logits(some_batch()),
                        ModelRun(bench, *fixed).logits(some_batch())));
        const auto trained = model_of(bench, config_with("sinusoidal", [](auto& c) { c.trained = true; }));
        CHECK(same_bits(bench.values(trained->parameters().at("embedding.positions").value),
                        std::vector<double>(values.begin(), values.end())));
      }
    }
  });
}

TEST_CASE("position tables: gradients are derivatives, with dropout of the positions, too") {
  on_every_table([](const ModelRun& run) {
    if (run.bench.compute == DType::f32) check_derivatives(run, some_batch());
  });
}

TEST_CASE("position tables: recomputation and the number of threads change no bit") {
  on_every_table([](const ModelRun& run) {
    check_recomputation(run, some_batch());
    check_threads(run, some_batch());
  });
}

TEST_CASE("position tables: dropout of positions drops from the table's rows alone") {
  on_every_backend([](Bench& bench) {
    ModelConfig config = config_with("learned", [](auto& own) { own.dropout = 0.5f; });
    config.dropout = 0;
    const auto model = model_of(bench, config);
    const ModelRun run{bench, *model};
    const Batch batch = some_batch();
    CHECK(!same_bits(run.losses(batch, {.training = true}), run.losses(batch)));
    Parameter& table = model->parameters().at("embedding.positions");
    const std::vector<float> zeros(static_cast<size_t>(table.shape.count()));
    model->parameters().write(table, 0, table.shape.count(), zeros.data());
    CHECK(same_bits(run.losses(batch, {.training = true}), run.losses(batch)));
  });
}

TEST_CASE("position tables: random positions are sorted draws, a function of seed, step and place in the batch") {
  const SequenceBatch batch = rows_of({5, 19, 1, 7});
  const auto drawn = draw_positions(batch, 0, 4, positions, 3, 8);
  REQUIRE(drawn.size() == 32);
  for (size_t s = 0; s < 4; ++s) {
    const auto begin = drawn.begin() + batch.offsets[s], end = drawn.begin() + batch.offsets[s + 1];
    CHECK(std::is_sorted(begin, end));
    CHECK(std::adjacent_find(begin, end) == end);
    CHECK(*begin >= 0);
    CHECK(end[-1] < positions);
  }
  for (int32_t i = 0; i < 19; ++i) CHECK(drawn[static_cast<size_t>(5 + i)] == i);  // it takes all there are
  const auto part = draw_positions(batch, 2, 4, positions, 3, 8);
  CHECK(std::equal(part.begin(), part.end(), drawn.begin() + 24));
  CHECK(draw_positions(batch, 0, 4, positions, 3, 9) != drawn);
  CHECK(draw_positions(batch, 0, 4, positions, 4, 8) != drawn);
  // Tokens that are apart in the whole row read what its own draw has there.
  SequenceBatch holed = rows_of({3});
  holed.positions = {0, 2, 4};
  const auto with_holes = draw_positions(holed, 0, 1, positions, 3, 8);
  CHECK(with_holes == std::vector<int32_t>{drawn[0], drawn[2], drawn[4]});
  // Any m on 2 ... 4 is as likely, and so is each pair of the first m.
  std::map<int32_t, int> last;
  const SequenceBatch pairs = rows_of(std::vector<int32_t>(6000, 2));
  const auto many = draw_positions(pairs, 0, 6000, 4, 1, 1);
  for (size_t i = 1; i < many.size(); i += 2) ++last[many[i]];
  // P(last = l) is the mean over m = 2, 3, 4 of l / (m choose 2).
  CHECK(std::abs(last[1] / 6000.0 - (1 + 1 / 3.0 + 1 / 6.0) / 3) < 0.025);
  CHECK(std::abs(last[2] / 6000.0 - (2 / 3.0 + 2 / 6.0) / 3) < 0.025);
  CHECK(std::abs(last[3] / 6000.0 - 3 / 6.0 / 3) < 0.02);
  CHECK_THROWS_AS(draw_positions(batch, 1, 2, 18, 3, 8), Error);
}

TEST_CASE("position tables: a training reads drawn positions, an evaluation the first, unless it is told to draw") {
  OwnMachine own;
  const auto losses = [&](bool draws_in_evaluation, bool in_training) {
    const auto draws = [&](auto& c) { c.random_in_evaluation = draws_in_evaluation; };
    const auto model = make_model(config_with("random", draws));
    model->parameters().allocate(own.ops->memory(), true);
    model->parameters().initialise(5);
    BatchUpload upload;
    const ArenaScope scope(own.arena);
    const SequenceBatch batch = rows_of({5, 7});
    const DeviceBatch sent =
        upload.send(own.arena, *model, batch, 0, 2, {.is_active = in_training, .seed = 3, .step = 8});
    return host_copy<int32_t>(own.ops->memory(), sent.layout.positions);
  };
  const std::vector<int32_t> first{0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5, 6};
  CHECK(losses(false, true) == draw_positions(rows_of({5, 7}), 0, 2, positions, 3, 8));
  CHECK(losses(false, false) == first);
  CHECK(losses(true, false) != first);
}

TEST_CASE("position tables: a saved model is the same when it is loaded") {
  for (const std::string kind : {"learned", "sinusoidal", "random"})
    for (const bool trained : {false, true}) {
      CAPTURE(kind);
      OwnMachine own_machine;
      Bench bench{*own_machine.ops, own_machine.arena, DType::f32};
      const auto model = model_of(bench, config_with(kind, [&](auto& own) {
        own.trained = trained && kind != "learned", own.dropout = 0.25f;
        if (kind == "random") own.random_table = "sinusoidal", own.random_in_evaluation = true;
      }));
      const TemporaryFolder folder;
      save_model(folder.path(), *model);
      const auto loaded = load_model(folder.path(), bench.arena.memory(), true, {.kinds = generating_kinds});
      const auto& own = loaded->config().own.get<PositionTableOptions>();
      CHECK(own.dropout == 0.25f);
      CHECK(own.trained == (trained && kind != "learned"));
      CHECK(own.random_in_evaluation == (kind == "random"));
      const ModelRun run{bench, *model}, again{bench, *loaded};
      CHECK(same_bits(run.losses(some_batch(), {.training = true}), again.losses(some_batch(), {.training = true})));
    }
}

TEST_CASE("position tables: what does not fit the positions is a usage error that names the option") {
  const auto refused = [](const std::string& kind, const std::function<void(PositionTableOptions&)>& change,
                          const char* what) {
    CHECK_THROWS_WITH_AS(make_model(config_with(kind, change)), doctest::Contains(what), UsageError);
  };
  refused("rotary", [](auto& c) { c.dropout = 0.1f; },
          "model.position_dropout is set, but model.positions is \"rotary\"");
  refused("learned", [](auto& c) { c.trained = true; }, "model.trained_positions");
  refused("sinusoidal", [](auto& c) { c.random_in_evaluation = true; }, "model.random_in_evaluation");
  refused("sinusoidal", [](auto& c) { c.random_table = "sinusoidal"; }, "model.random_table");
  refused("random", [](auto& c) { c.random_table = "even"; }, "model.random_table \"even\" is unknown");
  refused("random", [](auto& c) { c.dropout = 1.5f; }, "model.position_dropout is 1.5");
}

}  // namespace engine::test::test_position_tables
