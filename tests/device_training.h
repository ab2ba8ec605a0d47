// A small training by one rank or several, each with a GPU of its own.
#pragma once

#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "core/files.h"
#include "tests/program.h"

namespace engine::test {

// A decoder of four blocks. Dropout is a function of the row's place in the step, so ranks draw as one rank does.
inline const char* const decoder_config = R"(task = "gpt"
name = "run"
precision = "f32"
threads = 1
[data]
train = "tests/data/walk.txt"
eval = "tests/data/walk.txt"
tokenizer = "characters"
block_size = 16
eval_sequences = 5
[model]
hidden_size = 32
num_layers = 4
num_heads = 2
max_positions = 16
dropout = 0.1
[generation]
max_new_tokens = 4
[training]
batch_size = 5
micro_batch_size = 1
max_steps = 6
learning_rate = 0.01
adam_epsilon = 1e-4
scheduler = "constant"
log_every = 1
eval_every = 3
save_every = 3
)";

// Trains it on a device.
struct DeviceTraining {
  Program program;
  std::string device;
  std::string config = program.write("task.cfg", decoder_config);

  explicit DeviceTraining(const std::string& on = "sim") : program(on == "sim" ? "engine-sim" : "engine"), device(on) {}

  Ended train(const std::string& name, int ranks, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments{"train", config, "--output_dir", program.file("runs"), "--name",
                                       name,    "--device", device,     "--ranks",            std::to_string(ranks)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return program.run(arguments);
  }
  void trains(const std::string& name, int ranks, const std::vector<std::string>& more = {}) const {
    const Ended ended = train(name, ranks, more);
    INFO(ended.error);
    REQUIRE(ended.code == 0);
  }
  std::string run(const std::string& name) const { return program.file("runs/") + name; }
  // Returns what a run measured, but for times.
  std::vector<double> course(const std::string& name) const {
    std::vector<double> numbers;
    for (const nlohmann::json& event : events(name))
      for (const auto& [key, value] : event.items())
        if (value.is_number() && key != "tokens_per_second" && key != "seconds" && key != "memory_mib")
          numbers.push_back(value.get<double>());
    return numbers;
  }
  // Returns the losses of the steps.
  std::vector<double> losses(const std::string& name) const {
    std::vector<double> all;
    for (const nlohmann::json& event : events(name))
      if (event.at("split") == "train") all.push_back(event.at("loss").get<double>());
    return all;
  }

 private:
  std::vector<nlohmann::json> events(const std::string& name) const {
    std::vector<nlohmann::json> all;
    std::istringstream lines(read_text(run(name) + "/metrics.jsonl"));
    for (std::string line; std::getline(lines, line);) all.push_back(nlohmann::json::parse(line));
    return all;
  }
};

// The sums of gradients are rounded in another order, which some steps make a little more of.
inline void check_same_course(const std::vector<double>& actual, const std::vector<double>& expected) {
  REQUIRE(expected.size() > 20);
  REQUIRE(actual.size() == expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    CAPTURE(i);
    CHECK(actual[i] == doctest::Approx(expected[i]).epsilon(1e-4));
  }
}

}  // namespace engine::test
