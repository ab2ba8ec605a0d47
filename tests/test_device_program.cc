// The whole program on a device, be it a GPU or the simulated one, learns as it does on the CPU.
#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/config_files.h"
#include "tests/operation.h"
#include "tests/program.h"

namespace engine::test::test_device_program {

namespace {

constexpr int steps = 20;

// Returns the program that has this device.
Program program_of(const std::string& device) { return Program(device == "sim" ? "engine-sim" : "engine"); }

// Returns by how much a loss or a norm may differ, relative to it. In f32, sums of some hundred terms in another order
// differ by a few 2^-24 of their size, and each of the updates adds as much. In bf16, such a difference now and then
// rounds an element the other way, by 2^-8 of it. A loss is the mean over tens of tokens, each a sum over 32 such
// elements, so some hundredths of that remain.
double tolerance_of(const std::string& precision) { return precision == "bf16" ? 0x1p-8 / 8 : steps * 8 * 0x1p-24; }

// Writes a configuration with a small model and short sequences into the settings' folder.
std::string small_config(TaskSettings& settings) {
  Config& config = settings.config;
  adapt(settings);
  config.training.max_steps = steps;
  config.training.batch_size = 3;
  config.training.micro_batch_size = 2;
  config.training.log_every = 1;
  config.training.warmup_steps = 2;
  if (config.task == "gpt" || config.task == "scratchpad" || config.task == "thought")
    config.generation.max_new_tokens = 1;
  if (config.task == "scratchpad") settings.sections.scratchpad.eval_quantity = 1;
  if (config.task == "blotching") settings.sections.blotching.eval_problems = 1;
  if (config.init.empty()) {
    config.model.hidden_size = 32;
    config.model.num_layers = 1;
    if (architecture_of(config.model).has_attention) config.model.num_heads = 2;
  }
  if (config.task != "scratchpad" && config.task != "squad" && config.task != "thought" && config.task != "blotching")
    config.data.block_size = 16;
  std::string text;
  for (const Options::Option& option : settings.options.all())
    if (option.set || option.text() != option.default_text) text += option.name + " = " + option.text() + "\n";
  return settings.write("small.cfg", text);
}

// Returns the loss of every step of a run, and in f32 the gradient's norm. In bf16 that is no mean, so the tolerance
// does not bound it.
std::vector<double> course_of(const std::filesystem::path& run, const std::string& precision) {
  std::vector<double> result;
  std::istringstream lines(read_text(run / "metrics.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    const auto event = nlohmann::json::parse(line);
    if (event.at("split") != "train") continue;
    result.push_back(event.at("loss").get<double>());
    if (precision == "f32") result.push_back(event.at("grad_norm").get<double>());
  }
  return result;
}

// Trains one configuration, by one program, on several devices.
struct Trainings {
  TaskSettings settings;
  Program program;
  std::string config, precision;

  Trainings(const std::filesystem::path& path, const std::string& device, const std::string& in)
      : settings(read_text(path)), program(program_of(device)), config(small_config(settings)), precision(in) {}
  Ended run(std::vector<std::string> arguments, const std::string& device) const {
    arguments.insert(arguments.end(), {"--device", device, "--precision", precision, "--threads", "1"});
    const Ended ended = program.run(arguments);
    CHECK_MESSAGE(ended.code == 0, ended.error);
    return ended;
  }
  std::string run_folder(const std::string& device) const { return settings.file(device) + "/" + settings.config.name; }
  std::vector<double> train(const std::string& device) const {
    run({"train", config, "--output_dir", settings.file(device)}, device);
    return course_of(run_folder(device), precision);
  }
};

void check_course(const std::vector<double>& actual, const std::vector<double>& expected,
                  const std::string& precision) {
  REQUIRE(expected.size() == (precision == "f32" ? 2 : 1) * steps);
  REQUIRE(actual.size() == expected.size());
  double largest = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    CAPTURE(i);
    const double difference = std::abs(actual[i] - expected[i]) / expected[i];
    CHECK(difference <= tolerance_of(precision));
    largest = std::max(largest, difference);
  }
  MESSAGE("the largest difference is ", largest, ", allowed ", tolerance_of(precision));
}

}  // namespace

TEST_CASE("program on a device: every configuration, made small, has the losses and norms of the CPU for 20 steps") {
  SKIP_WITHOUT_DEVICE();
  for (const std::string& device : other_devices())
    CHECK(each_config([&](const std::filesystem::path& path) {
            CAPTURE(path.string());
            const Trainings trainings(path, device, "f32");
            check_course(trainings.train(device), trainings.train("cpu"), "f32");
          }) >= 9);
}

TEST_CASE("program on a device: in bf16 a decoder and one with an encoder have the losses of the CPU for 20 steps") {
  SKIP_WITHOUT_DEVICE();
  for (const std::string& device : other_devices())
    for (const std::string config : {"configs/gpt_shakespeare.cfg", "configs/scratchpad_bart.cfg"}) {
      CAPTURE(config);
      const Trainings trainings(config, device, "bf16");
      check_course(trainings.train(device), trainings.train("cpu"), "bf16");
    }
}

TEST_CASE("program on a device: a run is evaluated, goes on from a prompt and scores as on the CPU") {
  SKIP_WITHOUT_DEVICE();
  for (const std::string& device : other_devices())
    for (const std::string config : {"configs/gpt_shakespeare.cfg", "configs/lstm_shakespeare.cfg"}) {
      CAPTURE(config);
      const Trainings trainings(config, device, "f32");
      trainings.train(device);
      const std::string run = trainings.run_folder(device), lines = trainings.settings.write("lines.txt", "The mill\n");
      const auto on_both = [&](const std::vector<std::string>& arguments) {
        return std::array{trainings.run(arguments, device).out, trainings.run(arguments, "cpu").out};
      };
      const auto near = [](double actual, double expected) {
        CHECK(std::abs(actual / expected - 1) <= tolerance_of("f32"));
      };
      const auto [evaluated, expected] = on_both({"eval", run});
      const auto loss_of = [](const std::string& out) {
        REQUIRE(out.starts_with("loss "));
        return std::stod(out.substr(5));
      };
      near(loss_of(evaluated), loss_of(expected));
      const auto [text, expected_text] = on_both({"generate", run, "--prompt", "The ", "--temperature", "0"});
      CHECK(expected_text.starts_with("The "));
      CHECK(text == expected_text);
      const auto [scored, expected_score] = on_both({"score", run, "--input", lines});
      const auto log_likelihood = [](const std::string& out) {
        return nlohmann::json::parse(out).at("log_likelihood").get<double>();
      };
      near(log_likelihood(scored), log_likelihood(expected_score));
    }
}

TEST_CASE("program on a device: with --device check every operation agrees, and the losses are the first one's") {
  SKIP_WITHOUT_DEVICE();
  for (const std::string& device : other_devices()) {
    for (const std::string config : {"configs/arithmetic.cfg", "configs/lstm_shakespeare.cfg"}) {
      CAPTURE(config);
      const Trainings trainings(config, device, "bf16");
      CHECK(trainings.train("check") == trainings.train("cpu"));
    }
  }
}

}  // namespace engine::test::test_device_program
