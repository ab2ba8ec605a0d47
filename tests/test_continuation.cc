// These trainings start from another run.
#include "training/continuation.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/task_settings.h"
#include "tests/training_task.h"

namespace engine::test::test_continuation {

namespace {

// Holds the parameters as the first step finds them.
struct Started {
  Outcome outcome;
  std::vector<float> values;
};

Started train_from(Config config, const std::filesystem::path& init) {
  Started started;
  config.init = init.string();
  started.outcome = train_tiny(config, [&](TinyTask& task) {
    task.before_step = [&](int64_t step) {
      if (step == 0) started.values = task.values();
    };
  });
  return started;
}

std::vector<double> rates_of(const std::filesystem::path& run) {
  std::vector<double> rates;
  std::istringstream log(read_text(run / "metrics.jsonl"));
  for (std::string line; std::getline(log, line);)
    if (const auto json = nlohmann::json::parse(line); json["split"] == "train") rates.push_back(json["learning_rate"]);
  return rates;
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("continuation: a run of the same task gives its state, if it is wanted; weights are the task's to load") {
  const TemporaryFolder folder(quick_place());
  const Outcome first = train_tiny(tiny_config(folder.path(), "first"));
  Config config = tiny_config(folder.path(), "second");
  config.seed = 2;  // other initial values
  const std::vector<float> new_values = train_from(config, "").values;
  config.resume = false;
  const Started second = train_from(config, folder.path() / "first");
  CHECK(second.values == first.values);
  CHECK(has(second.outcome.printed, "first: values and moments of step 12\n"));
  CHECK(read_progress(folder.path() / "second/state").steps_before == 12);

  config.training.load_optimizer = false;
  const Started without = train_from(config, folder.path() / "first");
  CHECK(without.values == new_values);  // a TinyTask loads nothing itself
  CHECK(has(without.outcome.printed, "weights of the best model, moments of zero"));
  CHECK(read_progress(folder.path() / "second/state").steps_before == 0);
  config.training.load_optimizer = config.training.new_head = true;
  CHECK(train_from(config, folder.path() / "first").values == new_values);
  config.training.new_head = false;
  CHECK(has(train_from(config, folder.path() / "first/last").outcome.printed, "first/last: weights\n"));
  config.task = "other";
  const Started other = train_from(config, folder.path() / "first");
  CHECK(other.values == new_values);
  CHECK(has(other.outcome.printed, "weights of a run of task \"tiny\", no state"));
}

TEST_CASE("continuation: the moments are the state's, and a better model of an earlier step is named") {
  const TemporaryFolder folder(quick_place());
  Config config = tiny_config(folder.path(), "first");
  config.training.eval_every = 4;
  std::vector<double> losses{1, 2, 3};
  size_t at = 0;
  const Outcome first = train_tiny(config, [&](TinyTask& task) {
    task.measure = [&] { return Metrics{{"loss", losses[at++]}}; };
  });
  config.name = "second";
  const Started second = train_from(config, folder.path() / "first");
  CHECK(second.values == first.values);
  CHECK(has(second.outcome.printed, "step 12 (training.load_optimizer = false takes the best model, of step 4)"));
  const std::unique_ptr<Ops> ops = make_cpu_ops();
  TinyTask task(config, *ops);
  Optimizer optimizer(*ops, task.parameters(), config.training, DType::f32);
  Optimizer same(*ops, task.parameters(), config.training, DType::f32);
  load_fitting_state(folder.path() / "first/state", {task.parameters(), optimizer.state()});
  load_state(folder.path() / "first/state", {task.parameters(), same.state()});
  double sum = 0;
  for (size_t i = 0; i < optimizer.tensors().size(); ++i)
    for (const auto part : {&AdamWTensor::m, &AdamWTensor::v}) {
      const Tensor &a = optimizer.tensors()[i].*part, &b = same.tensors()[i].*part;
      CHECK(std::equal(a.as<float>(), a.as<float>() + a.count(), b.as<float>()));
      for (int64_t j = 0; j < a.count(); ++j) sum += std::abs(static_cast<double>(a.as<float>()[j]));
    }
  CHECK(sum > 0);
}

TEST_CASE("continuation: parameters of another shape or name are new, those that the model lacks are left out") {
  const TemporaryFolder folder(quick_place());
  Config config = tiny_config(folder.path(), "first");
  const Outcome first = train_tiny(config);
  config.name = "second";
  config.model.max_positions = 24;
  config.model.num_layers = 1;
  const Started second = train_from(config, folder.path() / "first");
  CHECK(std::equal(first.values.begin(), first.values.begin() + 27 * 32, second.values.begin()));  // the tokens
  CHECK(has(second.outcome.printed, "; new embedding.positions; left out embedding.positions, layers.1."));
  CHECK(has(second.outcome.printed, " more\n"));
  const TrainingProgress progress = read_progress(folder.path() / "second/state");
  CHECK(progress.fresh == std::vector<std::string>{"embedding.positions"});
}

TEST_CASE("continuation: stopped and resumed it ends with the same bits, though the first run is gone") {
  const TemporaryFolder folder(quick_place());
  Config config = tiny_config(folder.path(), "first");
  train_tiny(config);
  config.init = (folder.path() / "first").string();
  config.model.max_positions = 24;  // some moments are new
  config.training.resume_warmup_steps = 9;
  config.name = "whole";
  const Outcome whole = train_tiny(config);
  config.name = "stopped";
  train_tiny(config, [&](TinyTask& task) {
    task.before_step = [&](int64_t step) {
      if (step == 4) write_file(folder.path() / "stopped/stop", "");
    };
  });
  std::filesystem::remove_all(folder.path() / "first");
  const Outcome resumed = train_tiny(config);
  CHECK(has(resumed.printed, "on from step 5"));
  CHECK(resumed.values == whole.values);
}

TEST_CASE("continuation: old moments go on as in one training, new ones begin as in one") {
  const TrainingConfig config{.weight_decay = 0.1f};
  const std::unique_ptr<Ops> ops = make_cpu_ops();
  const auto make = [&](Parameters& parameters) {
    parameters.add("a", {3}, Initial::zeros());
    parameters.add("b", {3}, Initial::zeros());
    parameters.allocate(ops->memory(), true);
  };
  const auto step = [](Optimizer& optimizer, int64_t number, int64_t drawn) {
    Random random(1, static_cast<uint64_t>(drawn));
    for (const AdamWTensor& t : optimizer.tensors())
      for (int i = 0; i < 3; ++i) t.gradient.as<float>()[i] = random.normal();
    optimizer.clip_and_measure_norm();
    optimizer.update(0.1f, number);
  };
  Parameters one, two, three;
  for (Parameters* parameters : {&one, &two, &three}) make(*parameters);
  const DType f32 = DType::f32;
  Optimizer whole(*ops, one, config, f32), halves(*ops, two, config, f32), late(*ops, three, config, f32);
  for (int64_t i = 1; i <= 10; ++i) step(whole, i, i);
  for (int64_t i = 1; i <= 5; ++i) step(halves, i, i);
  // "b" begins anew in the second half.
  for (const Tensor& tensor : {halves.tensors()[1].value, halves.tensors()[1].m, halves.tensors()[1].v})
    ops->memory().zero(tensor.data, tensor.bytes());
  halves.set_steps_before(5, {"b"});
  for (int64_t i = 1; i <= 5; ++i) step(halves, i, i + 5), step(late, i, i + 5);
  for (int i = 0; i < 3; ++i) {
    CHECK(two.at("a").value.as<float>()[i] == one.at("a").value.as<float>()[i]);
    CHECK(two.at("b").value.as<float>()[i] == three.at("b").value.as<float>()[i]);
    CHECK(two.at("a").value.as<float>()[i] != three.at("a").value.as<float>()[i]);
  }
}

TEST_CASE("continuation: the learning rate begins where it was and goes over to the schedule") {
  const TemporaryFolder folder(quick_place());
  Config config = tiny_config(folder.path(), "first");
  config.training.log_every = 1;
  config.training.min_learning_rate = 1e-4f;
  train_tiny(config);
  const double last = rates_of(folder.path() / "first").back();
  config.name = "plain";
  train_from(config, folder.path() / "first");
  config.name = "blended";
  config.training.resume_warmup_steps = 8;
  train_from(config, folder.path() / "first");
  const std::vector<double> plain = rates_of(folder.path() / "plain"), blended = rates_of(folder.path() / "blended");
  REQUIRE(blended.size() == 12);
  CHECK(last != plain[0]);
  for (size_t i = 0; i < 12; ++i) {
    const double share = std::min(static_cast<double>(i) / 8, 1.0);
    CHECK(blended[i] == doctest::Approx((1 - share) * last + share * plain[i]).epsilon(1e-6));
  }
  // Here it goes without the moments, too.
  config.name = "without";
  config.training.load_optimizer = false;
  train_from(config, folder.path() / "first");
  CHECK(rates_of(folder.path() / "without") == blended);
}

TEST_CASE("continuation: a run that is made longer goes over from its own last rate, stopped in between or not") {
  const TemporaryFolder folder(quick_place());
  Config config = tiny_config(folder.path(), "whole");
  config.training.log_every = 1;
  config.training.max_steps = 24;
  train_tiny(config);
  const std::vector<double> plain = rates_of(folder.path() / "whole");
  REQUIRE(plain.size() == 24);
  const auto lengthened = [&](const char* name, int64_t blend, int64_t stop_at) {
    config.name = name;
    config.training.max_steps = 12;
    config.training.resume_warmup_steps = 0;
    train_tiny(config);
    config.training.max_steps = 24;
    config.training.resume_warmup_steps = blend;
    train_tiny(config, [&](TinyTask& task) {
      task.before_step = [&, stop_at](int64_t step) {
        if (step == stop_at) write_file(folder.path() / config.name / "stop", "");
      };
    });
    if (stop_at > 0) train_tiny(config);
    return rates_of(folder.path() / name);
  };
  const std::vector<double> jumps = lengthened("jumps", 0, 0), blended = lengthened("blended", 8, 0);
  REQUIRE(blended.size() == 24);
  CHECK(jumps[11] < jumps[12] / 2);
  for (size_t i = 12; i < 24; ++i) {
    CHECK(jumps[i] == plain[i]);
    const double share = std::min(static_cast<double>(i - 12) / 8, 1.0);
    CHECK(blended[i] == doctest::Approx((1 - share) * blended[11] + share * plain[i]).epsilon(1e-6));
  }
  CHECK(lengthened("stopped", 8, 15) == blended);
}

TEST_CASE("continuation: no rate to go on from, and a run that would clear what it starts from") {
  const TemporaryFolder folder(quick_place());
  Config config = tiny_config(folder.path(), "first");
  train_tiny(config);
  config.resume = false;
  CHECK_THROWS_WITH_AS(train_from(config, folder.path() / "first/last"), doctest::Contains("give the run another name"),
                       UsageError);
  CHECK(std::filesystem::exists(folder.path() / "first/last"));
  config.name = "second";
  config.training.resume_warmup_steps = 5;
  CHECK_THROWS_WITH_AS(train_from(config, folder.path() / "first/last"), doctest::Contains("is no run's folder"),
                       UsageError);
  config.task = "other";
  CHECK_THROWS_WITH_AS(train_from(config, folder.path() / "first"), doctest::Contains("a run of another task"),
                       UsageError);
}

TEST_CASE("continuation: init of a language model may be a run's folder, whose best model is taken") {
  const std::string tiny = "task = \"gpt\"\n[data]\nblock_size = 8\n";
  TaskSettings first(tiny + "tokenizer = \"characters\"\n[model]\nhidden_size = 16\nnum_layers = 1\nnum_heads = 2\n"
                            "max_positions = 16\n[training]\nmax_steps = 2\n[gpt]\nsamples = 0\n");
  std::string text;
  for (int i = 0; i < 6; ++i) text += "abcdefg ";
  first.config.data.train = first.config.data.eval = {first.write("a.txt", text)};
  std::FILE* out = std::fopen("/dev/null", "w");
  CHECK(train_task(first.config, first.options, *first.task(), first.machine, out).exit_code() == 0);
  std::fclose(out);
  TaskSettings second(tiny);
  second.config.init = first.file("run");
  second.config.data.train = first.config.data.train;
  const auto task = second.task();
  TaskSettings best(tiny);
  best.config.init = first.file("run/best");
  best.config.data.train = first.config.data.train;
  const auto expected = best.task();
  const Tensor a = task->parameters().at("embedding.tokens").value,
               b = expected->parameters().at("embedding.tokens").value;
  CHECK(std::equal(a.as<float>(), a.as<float>() + a.count(), b.as<float>()));
  second.config.training.new_head = true;
  CHECK_THROWS_WITH_AS(second.task(), doctest::Contains("training.new_head is for models with a head of their own"),
                       UsageError);
  second.config.training.new_head = false;
  second.config.init = first.file("none");
  CHECK_THROWS_WITH_AS(second.task(), doctest::Contains("there is no such folder"), Error);
}

}  // namespace engine::test::test_continuation
