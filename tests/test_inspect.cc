// inspect: counts and examples of a task's data, and labels that may be wrong.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "commands/data_summary.h"
#include "tests/config_files.h"
#include "tests/program.h"
#include "tests/training_task.h"
#include "training/suspects.h"

namespace engine::test::test_inspect {

namespace {

const char* const tiny_encoder = R"(task = "sst2"
name = "run"
precision = "f32"
device = "cpu"
[model]
architecture = "bert"
hidden_size = 16
num_layers = 1
num_heads = 2
max_positions = 32
dropout = 0.0
attention_dropout = 0.0
[data]
tokenizer = "words"
block_size = 6
[training]
batch_size = 8
max_steps = 60
learning_rate = 0.01
)";

}  // namespace

TEST_CASE("inspect: sequences, tokens, lengths and labels are counted") {
  SequenceBatch batch;
  for (const std::vector<int32_t>& sequence : {std::vector<int32_t>{1, 2, 3}, {4}, {5, 6}}) {
    batch.tokens.insert(batch.tokens.end(), sequence.begin(), sequence.end());
    batch.targets.labels.push_back(sequence.size() > 1);
    batch.targets.labels.resize(batch.tokens.size(), -100);
    batch.end_sequence();
  }
  DataSummary summary;
  summary.add(batch);
  summary.add(batch);
  std::ostringstream out;
  summary.print({.token = {}, .classes = {"no", "yes"}}, out);
  const std::string text = out.str();
  CAPTURE(text);
  CHECK(text.find("sequences: 6\ntokens: 12\nscored: 6 tokens, 50.0 %\n") == 0);
  CHECK(text.find("lengths: 1 to 3 tokens, median 2, mean 2\n") != std::string::npos);
  CHECK(text.find("yes         4  66.7 %\n") != std::string::npos);
  CHECK(text.find("no         2  33.3 %\n") != std::string::npos);
}

TEST_CASE("inspect: a sequence is shown with its targets, and cut behind the tokens that are asked for") {
  SequenceBatch batch;
  batch.tokens = {7, 8, 9};
  batch.targets.labels = {8, -100, 9};
  batch.targets.weights = {1, 1, 0.5f};
  batch.end_sequence();
  const auto token = [](int32_t id) { return id == 8 ? "\n" : std::string(1, static_cast<char>('a' + id)); };
  const Reading reading{.token = token, .classes = {}};
  std::ostringstream all, cut;
  print_sequence(batch, 0, reading, 10, all);
  CHECK(all.str() == "     0       7  \"h\"                -> \"\\n\"\n     1       8  \"\\n\"              \n"
                     "     2       9  \"j\"                -> \"j\", weight 0.5\n");
  print_sequence(batch, 0, reading, 1, cut);
  CHECK(cut.str().find("  and 2 more tokens\n") != std::string::npos);
}

TEST_CASE("inspect: a task's data is shown, and after a run the label that is wrong comes first") {
  const TemporaryFolder folder(quick_place());
  const Program program;
  std::filesystem::create_directory(folder.path() / "words");
  write_file(folder.path() / "words" / "vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ngood\nbad\nfilm\na\n");
  std::string data = "sentence\tlabel\n";
  for (int i = 0; i < 12; ++i) data += i % 2 ? "a good film\t1\n" : "a bad film\t0\n";
  data += "a good film\t0\ngood good good good good good\t1\n\t1\n";  // mislabelled (line 14), cut, empty
  write_file(folder.path() / "train.tsv", data + "a good film\t1\n");
  write_file(folder.path() / "task.cfg", tiny_encoder);
  const auto run = [&](const std::string& arguments) {
    return program.shell("cd " + folder.path().string() + " && " + program.path() + " " + arguments);
  };
  const Ended shown = run("inspect task.cfg --data.train train.tsv --examples 1");
  CAPTURE(shown.error);
  REQUIRE(shown.code == 0);
  CAPTURE(shown.out);
  CHECK(shown.out.find("1 empty sentences are left out") != std::string::npos);
  CHECK(shown.out.find("1 sentences are cut to 6 tokens") != std::string::npos);
  CHECK(shown.out.find("labels: 2 classes") != std::string::npos);
  CHECK(shown.out.find("\"[CLS]\"            -> ") != std::string::npos);
  CHECK(!std::filesystem::exists(folder.path() / "runs"));
  const Ended split = run("inspect task.cfg --data.train train.tsv --split test");
  CHECK(split.code == 2);
  CHECK(split.error.find("data.test names no file") != std::string::npos);
  CHECK(run("train task.cfg --data.train train.tsv --data.eval train.tsv").code == 0);
  CHECK(read_text(folder.path() / "runs/run/predictions.jsonl").find(R"("label":"positive")") != std::string::npos);
  const Ended found = run("inspect runs/run --suspects suspects.jsonl --most 3");
  CAPTURE(found.error);
  REQUIRE(found.code == 0);
  std::istringstream lines(read_text(folder.path() / "suspects.jsonl"));
  std::string line;
  std::vector<nlohmann::json> suspects;
  while (std::getline(lines, line)) suspects.push_back(nlohmann::json::parse(line));
  REQUIRE(suspects.size() == 3);
  CHECK(suspects[0]["line"] == 14);
  CHECK(suspects[0]["label"] == "negative");
  CHECK(suspects[0]["file"] == "train.tsv");
  CHECK(suspects[0]["loss"] >= suspects[1]["loss"]);
}

TEST_CASE("inspect: a task that makes its own data, a folder and a task without losses") {
  const Program program;
  const std::string task = program.write("task.cfg", small_scratchpad + "[training]\nbatch_size = 4\n");
  const Ended shown = program.run({"inspect", task, "--steps", "3"});
  CHECK(shown.code == 0);
  CHECK(shown.out.find("batches: 3\nsequences: 12\n") != std::string::npos);
  CHECK(shown.out.find("example 3 of the first batch") != std::string::npos);
  program.fails({"inspect", task, "--split", "eval", "--suspects", program.file("s")}, 1, "");
  program.fails({"inspect", program.file("")}, 2, "is a folder");
  program.fails({"inspect", task, "--most", "3"}, 2, "--most needs --suspects");
}

TEST_CASE("suspects: the highest losses are kept, in order, and no loss that is not finite") {
  Suspects suspects(2);
  const auto named = [](const char* name) {
    return [name] { return nlohmann::ordered_json{{"input", name}}; };
  };
  suspects.add(1, named("a"));
  suspects.add(NAN, named("b"));
  suspects.add(3, named("c"));
  suspects.add(INFINITY, named("d"));
  CHECK(suspects.lines() == std::vector<std::string>{R"({"input":"c","loss":3.0})", R"({"input":"a","loss":1.0})"});
  suspects.add(3, named("e"));
  suspects.add(3, named("f"));
  CHECK(suspects.lines() == std::vector<std::string>{R"({"input":"c","loss":3.0})", R"({"input":"e","loss":3.0})"});
}

TEST_CASE("suspects: a sequence has the mean loss of its scored tokens, and none without one") {
  SequenceBatch batch;
  for (const std::vector<int32_t>& labels : {std::vector<int32_t>{5, -100, 6}, {-100}, {7}}) {
    batch.tokens.insert(batch.tokens.end(), labels.size(), 1);
    batch.targets.labels.insert(batch.targets.labels.end(), labels.begin(), labels.end());
    batch.end_sequence();
  }
  Suspects suspects(9);
  const auto number = [](size_t s) { return nlohmann::ordered_json{{"sequence", s}}; };
  suspects.add_sequences(batch, std::vector<float>{1, 2, 8}, number);
  CHECK(suspects.lines() ==
        std::vector<std::string>{R"({"sequence":2,"loss":8.0})", R"({"sequence":0,"loss":1.5})"});
  CHECK_THROWS_AS(suspects.add_sequences(batch, std::vector<float>{1, 2}, number), Error);
}

TEST_CASE("suspects: every configuration's task tells of its examples and their losses, which change no metric") {
  const int count = each_config([](const std::filesystem::path& path) {
    CAPTURE(path.string());
    TaskSettings settings(read_text(path));
    adapt(settings);
    const auto task = settings.task();
    std::string samples, same_samples;
    const Metrics metrics = task->evaluate(settings.machine, samples);
    Suspects suspects(100000);
    task->look_for(suspects);
    CHECK(task->evaluate(settings.machine, same_samples) == metrics);
    CHECK(samples == same_samples);
    CHECK_FALSE(suspects.lines().empty());
    double before = INFINITY, sum = 0, weight = 0;
    for (const std::string& line : suspects.lines()) {
      const auto json = nlohmann::json::parse(line);
      CHECK(json.at("input").is_string());
      CHECK(json.at("loss") <= before);
      before = json.at("loss");
      // All but the first token of a block is scored, and of a sentence its class.
      const double own = json.contains("first_token") ? json.at("tokens").get<double>() - 1 : 1;
      sum += own * before;
      weight += own;
    }
    const std::string& name = settings.config.task;
    if (name != "gpt" && name != "cola" && name != "sst2") return;
    const auto loss = std::find_if(metrics.begin(), metrics.end(), [](const auto& one) { return one.first == "loss"; });
    REQUIRE(loss != metrics.end());
    CHECK(sum / weight == doctest::Approx(loss->second).epsilon(1e-5));
  });
  CHECK(count >= 9);
}

TEST_CASE("inspect: examples of data that a task makes itself, and files that hold nothing of use") {
  const Program program;
  const std::string task = program.write("task.cfg", small_scratchpad + "eval_quantity = 5\n[training]\nmax_steps = 1\n"
                                                                        "batch_size = 4\n");
  const std::string runs = program.file("runs"), suspects = program.file("suspects.jsonl");
  REQUIRE(program.run({"train", task, "--output_dir", runs, "--threads", "1"}).code == 0);
  const Ended found = program.run({"inspect", runs + "/run", "--suspects", suspects, "--most", "3"});
  CAPTURE(found.error);
  CHECK(found.code == 0);
  CHECK(found.out.find("suspects.jsonl: 3 examples, the highest loss first\n") != std::string::npos);
  std::istringstream lines(read_text(suspects));
  std::string line;
  std::getline(lines, line);
  CHECK(nlohmann::json::parse(line).at("level") == 1);
  program.fails({"inspect", runs + "/run", "--suspects", suspects, "--split", "train"}, 2, "makes its own");
}

TEST_CASE("inspect: where a split has no question, the error names that split") {
  TaskSettings settings(read_text("configs/squad.cfg"));
  adapt(settings);
  settings.config.data.train = {settings.write("none.json", R"({"data": []})")};
  choose_split(settings.config, "train");
  CHECK_THROWS_WITH_AS(settings.task(), doctest::Contains("data.train leaves no question"), UsageError);
}

}  // namespace engine::test::test_inspect
