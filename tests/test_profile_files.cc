// A profile's tables, files and comparison, and the verb.
#include <doctest/doctest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "commands/profile_file.h"
#include "commands/profile_text.h"
#include "tests/program.h"

namespace engine::test::test_profile_files {

namespace {

using nlohmann::json;

Profile known_profile() {
  Profile profile{.task = "gpt", .device = "cpu", .threads = 2, .steps = 3, .tokens = 1000, .seconds = 0.5,
                  .unrecorded = 0.499};
  profile.peaks = {.f32 = 1e11, .bf16 = 1e12, .bytes_per_second = 1e10};
  profile.operations = {{.operation = "matmul", .part = "attention.qkv.weight", .shapes = "a [4..5, 3] f32",
                         .phase = Phase::forward, .calls = 12, .seconds = 0.25, .flops = 2e10, .bytes = 1e8},
                        {.operation = "dropout", .shapes = "x [4, 3] bf16", .phase = Phase::backward,
                         .compute = DType::f32, .calls = 1.5, .seconds = 0.125, .bytes = 1e9}};
  profile.layers.resize(1);
  profile.layers[0] = {.name = "layers.0", .calls = 13.5, .flops = 2e10};
  profile.layers[0].seconds[static_cast<size_t>(Phase::forward)] = 0.25;
  profile.layers[0].seconds[static_cast<size_t>(Phase::backward)] = 0.125;
  profile.phases[static_cast<size_t>(Phase::forward)] = {0.3, 0.25};
  profile.phases[static_cast<size_t>(Phase::backward)] = {0.2, 0.125};
  profile.memory = {{"weights", size_t{3} << 20}, {"activations", size_t{1} << 20}};
  profile.peak_memory = size_t{4} << 20;
  return profile;
}

std::string line_with(const std::string& text, const std::string& part) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);)
    if (line.find(part) != std::string::npos) return line;
  return "no line with " + part;
}

// Returns the words of a line.
std::vector<std::string> words(const std::string& line) {
  std::istringstream stream(line);
  return {std::istream_iterator<std::string>(stream), std::istream_iterator<std::string>()};
}

using Words = std::vector<std::string>;

const char* const task_config = R"([training]
batch_size = 4
max_steps = 3
)";

}  // namespace

TEST_CASE("profile: the tables show rates, the share of the peak and the bound") {
  std::ostringstream out;
  print_profile(known_profile(), out);
  const std::string text = out.str();
  CHECK(text.starts_with("gpt on cpu, 2 threads, f32: 3 steps of 1000 tokens, 500.000 ms each (499.000 ms unrecorded), "
                         "2000 tokens/s\n"));
  CHECK(text.find("the step has 40.0 GFLOP/s, 40.0 % of f32's") != std::string::npos);
  CHECK(words(line_with(text, "matmul")) ==
        Words{"matmul", "forward", "attention.qkv.weight", "12", "250.000", "50.0", "%", "80.0", "0.4", "80.0", "%",
              "compute", "a", "[4..5,", "3]", "f32"});
  CHECK(words(line_with(text, "dropout")) == Words{"dropout", "backward", "1.5", "125.000", "25.0", "%", "8.0", "80.0",
                                                   "%", "memory", "x", "[4,", "3]", "bf16"});
  CHECK(words(line_with(text, "between")) == Words{"between", "operations", "125.000", "25.0", "%"});
  CHECK(words(line_with(text, "layers.0")) ==
        Words{"layers.0", "13.5", "250.000", "125.000", "375.000", "75.0", "%", "53.3"});
  CHECK(words(line_with(text, "step  ")) == Words{"step", "500.000", "100.0", "%", "375.000"});
  CHECK(words(line_with(text, "weights")) == Words{"weights", "3.0", "75.0", "%"});
  CHECK(words(line_with(text, "4.0  100.0 %")) == Words{"peak", "4.0", "100.0", "%"});
}

TEST_CASE("profile: what changed is told, the largest change first") {
  const Profile before = known_profile();
  Profile now = before;
  now.seconds = 0.6;
  now.threads = 1;
  now.operations[0].seconds = 0.5;
  now.operations[1].seconds = 0.1;
  now.operations.push_back({.operation = "copy", .phase = Phase::rest, .seconds = 0.01});
  std::ostringstream out, same;
  print_changes(now, before, out);
  const std::string text = out.str();
  CHECK(text.starts_with("a step takes 600.000 ms, before 500.000 ms: 1.20 times\n"
                         "note: the number of threads is 1, before 2\n"));
  CHECK(words(line_with(text, "matmul")) ==
        Words{"forward", "matmul", "of", "attention.qkv.weight", "+250.000", "500.000", "250.000", "2.00"});
  CHECK(words(line_with(text, "dropout")) == Words{"backward", "dropout", "-25.000", "100.000", "125.000", "0.80"});
  CHECK(words(line_with(text, "copy")) == Words{"rest", "copy", "+10.000", "10.000", "0.000", "new"});
  CHECK(text.find("matmul") < text.find("dropout"));
  CHECK(text.find("dropout") < text.find("copy"));
  print_changes(before, before, same);
  CHECK(same.str().find("matmul") == std::string::npos);
  CHECK(same.str().find("note") == std::string::npos);
}

TEST_CASE("profile: a file is read as it was written, and a wrong one is an error") {
  const TemporaryFolder folder;
  const std::filesystem::path file = folder.path() / "profile.json";
  const std::string text = profile_json(known_profile());
  write_file(file, text);
  CHECK(profile_json(read_profile(file)) == text);
  const auto fails = [&](const std::function<void(json&)>& change, const std::string& message) {
    json all = json::parse(text);
    change(all);
    write_file(file, all.dump());
    CHECK_THROWS_WITH_AS(read_profile(file), (file.string() + message).c_str(), Error);
  };
  fails([](json& all) { all["format"] = "other"; },
        ": this is no profile: engine profile task.cfg --output FILE writes one");
  fails([](json& all) { all["seconds"] = -1; }, ": \"seconds\" is -1: it must be at least 0");
  fails([](json& all) { all["compute"] = "i32"; }, ": there is no precision \"i32\": f32 or bf16");
  fails([](json& all) { all["phases"][1]["phase"] = "sideways"; }, ": phases[1]: there is no phase \"sideways\"");
  fails([](json& all) { all["layers"] = 3; }, ": \"layers\" must be a list");
  fails([](json& all) { all["layers"][0]["seconds"] = 3; }, ": layers[0]: \"seconds\" must be an object");
}

TEST_CASE("profile: the program writes tables, a profile and a trace, and compares") {
  const Program program;
  const std::string config = program.write("task.cfg", small_scratchpad + task_config);
  const std::string output = program.file("profile.json"), trace = program.file("trace.json");
  const Ended ended =
      program.run({"profile", config, "--steps", "2", "--threads", "1", "--output", output, "--trace", trace});
  CAPTURE(ended.error);
  REQUIRE(ended.code == 0);
  for (const char* const part :
       {"phase ", "operation ", "layer ", "memory ", "layers.0", "adamw", "between operations"})
    CHECK(ended.out.find(part) != std::string::npos);
  CHECK_FALSE(std::filesystem::exists("runs/run"));
  const Profile profile = read_profile(output);
  CHECK(profile.steps == 2);
  CHECK(profile.task == "scratchpad");

  // Every event of a track begins behind the one before it, and phases hold the operations that they say.
  const json all = json::parse(read_text(trace));
  std::map<int, std::string> tracks;
  std::map<int, double> ends;
  std::map<std::string, int> counts;
  double phases = 0, operations = 0;
  for (const json& event : all["traceEvents"]) {
    if (event["ph"] == "M") {
      if (event["name"] == "thread_name") tracks[event["tid"]] = event["args"]["name"];
      continue;
    }
    REQUIRE(event["ph"] == "X");
    const double begin = event["ts"], duration = event["dur"];
    double& end = ends[event["tid"]];
    CHECK(begin >= end - 0.002);  // times are rounded to nanoseconds
    CHECK(duration >= 0);
    end = begin + duration;
    const std::string track = tracks.at(event["tid"]);
    ++counts[track];
    if (track == "phases") phases += duration;
    if (track != "operations") continue;
    operations += duration;
    CHECK(event["args"]["shapes"].get<std::string>().find(" [") != std::string::npos);
    CHECK(event["args"].contains("layer"));
  }
  CHECK(tracks.size() == 3);
  CHECK(counts["operations"] > counts["layers"]);
  CHECK(counts["phases"] >= 2 * 6);
  CHECK(phases == doctest::Approx(2e6 * profile.seconds).epsilon(1e-3));
  CHECK(operations == doctest::Approx(2e6 * profile.operation_seconds()).epsilon(1e-3));

  const Ended again = program.run({"profile", config, "--steps", "1", "--threads", "1", "--against", output});
  CHECK(again.code == 0);
  CHECK(again.out.find("a step takes ") != std::string::npos);
  const Ended ranks = program.run({"profile", config, "--steps", "1", "--ranks", "2", "--output", output});
  CAPTURE(ranks.error);
  CHECK(ranks.code == 0);
  CHECK(ranks.out.find("rank 0 of 2") != std::string::npos);
  CHECK(read_profile(output).phases[static_cast<size_t>(Phase::communication)].seconds > 0);

  program.fails({"profile"}, 2, "profile needs task.cfg");
  program.fails({"profile", config, "--steps", "0"}, 2, "--steps is \"0\": it must be an integer at least 1");
  program.fails({"profile", config, "--against", program.file("none.json")}, 1, "none.json");
  program.fails({"profile", config, "--against", trace}, 1, "trace.json: this is no profile");
  program.fails({"profile", config, "--output", program.file("no/profile.json")}, 1, "there is no folder");
  program.fails({"profile", config, "--trace", program.file("")}, 1, "is a folder, not a file");
}

}  // namespace engine::test::test_profile_files
