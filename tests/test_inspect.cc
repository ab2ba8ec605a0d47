// inspect: counts and examples of a task's data, and labels that may be wrong.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "commands/data_summary.h"
#include "tests/program.h"
#include "tests/training_task.h"

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

}  // namespace engine::test::test_inspect
