// Output that cannot be written ends in an error that names the file, the standard output included. Input without an
// end is read line by line, or ends in such an error.
#include <sys/stat.h>

#include "commands/lines.h"
#include "tasks/squad/examples.h"
#include "tests/error_text.h"
#include "tests/program.h"
#include "tests/quick_place.h"

namespace engine::test::test_full_device {

namespace fs = std::filesystem;

namespace {

const std::string task_config =
    small_scratchpad + "eval_quantity = 8\n[training]\nmax_steps = 2\nbatch_size = 4\nlog_every = 1\n";

}  // namespace

TEST_CASE("full device: every verb whose output is lost ends with 1 and names it") {
  const Program program;
  const std::string config = program.write("task.cfg", task_config);
  const std::string runs = program.file("runs"), run = runs + "/run", full = "/dev/full";
  const std::string lost = "the standard output (/dev/full) cannot be written";
  const std::vector<std::string> train{"train", config, "--output_dir", runs, "--threads", "1"};
  // The training itself comes to its end.
  program.fails(train, 1, lost, full);
  CHECK(program.run(train).out.find("has finished") != std::string::npos);

  const std::string lines = program.write("lines.txt", "(1+2)\n");
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"info"}, {"options"}, {"--help"}, {"--version"}, train, {"eval", run},
        {"tokenize", run, "--input", lines}, {"score", run, "--input", lines}, {"generate", run, "--prompt", "(1+2)"},
        {"generate", run, "--input", lines}, {"problems", config, "--quantity", "3"}, {"inspect", config},
        {"profile", config, "--steps", "1"}}) {
    CAPTURE(arguments[0]);
    program.fails(arguments, 1, lost, full);
  }
  const std::string at_once = "cannot write /dev/full: No space left on device";
  program.fails({"report", run, "--output", full}, 1, at_once);
  program.fails({"profile", config, "--steps", "1", "--threads", "1", "--trace", full}, 1, at_once);
  program.fails({"expressions", full, "--quantity", "3"}, 1, at_once);
}

TEST_CASE("full device: a log, a sample and a result that cannot be written end a training with 1 and their names") {
  const Program program;
  const std::string config = program.write("task.cfg", task_config);
  const std::string runs = program.file("runs"), run = runs + "/run";
  for (const char* name : {"metrics.jsonl", "samples/step_2.txt", "predictions.jsonl", "result.json", "task.cfg"}) {
    CAPTURE(name);
    const fs::path file = fs::path(run) / name;
    fs::create_directories(file.parent_path());
    fs::create_symlink("/dev/full", file);
    program.fails({"train", config, "--output_dir", runs, "--threads", "1"}, 1,
                  "cannot write " + file.string() + ": No space left on device");
    fs::remove_all(run);
  }
  // The log of a sweep's training is its standard output.
  const std::string sweep = program.write("sweep.cfg", "task = \"" + config + "\"\nname = \"s\"\noutput_dir = \"" +
                                                           runs + "\"\n[options]\nmodel.num_layers = [1]\n");
  fs::create_directories(runs + "/s");
  fs::create_symlink("/dev/full", runs + "/s/trial_001.log");
  const Ended ended = program.run({"sweep", sweep});
  CHECK(ended.code == 1);
  CHECK(ended.out.find("FAILED: ") != std::string::npos);
  fs::remove(runs + "/s/trial_001.log");
  fs::create_directories(runs + "/s/trial_001.log");
  fs::remove(runs + "/s/results.jsonl");
  program.fails({"sweep", sweep}, 1, "cannot write " + runs + "/s/trial_001.log: Is a directory");
}

TEST_CASE("endless input: a line without an end is refused, lines without an end are worked on as they come") {
  size_t lines = 0;
  const auto count = [&](size_t, const std::vector<std::string>& batch) { lines += batch.size(); };
  CHECK(error_of([&] { in_batches("/dev/zero", nullptr, count); }) ==
        "/dev/zero:1: the line is longer than 268435456 bytes");
  CHECK(lines == 0);
  // Pieces of a line and its end come at any place.
  const TemporaryFolder folder;
  for (const size_t size : {size_t{4094}, size_t{4095}, size_t{4096}, size_t{8190}, size_t{9000}}) {
    std::string text = std::string(size, 'a') + "\n\n" + std::string(size, 'b');
    for (const char* end : {"", "\n"}) {
      write_file(folder.path() / "lines", text + end);
      std::vector<std::string> found;
      in_batches((folder.path() / "lines").string(), nullptr,
                 [&](size_t, const std::vector<std::string>& batch) { found = batch; });
      CHECK(found == std::vector<std::string>{std::string(size, 'a'), "", std::string(size, 'b')});
    }
  }
  const Program program;
  const std::string config = program.write("task.cfg", task_config), runs = program.file("runs");
  REQUIRE(program.run({"train", config, "--output_dir", runs, "--threads", "1"}).code == 0);
  for (const std::string verb : {"tokenize", "score", "generate"}) {
    CAPTURE(verb);
    program.fails({verb, runs + "/run", "--input", "/dev/zero"}, 1, "/dev/zero:1: the line is longer than");
    // A reader that has enough ends both.
    const Ended ended = program.shell("set -o pipefail; yes '(1+2)' | timeout 60 " + program.path() + " " + verb + " " +
                                      runs + "/run --input /dev/stdin | head -n 1000 | wc -l");
    CHECK(ended.out == "1000\n");
  }
}

TEST_CASE("endless input: a text to train on that is no file is refused at once, and says what it is") {
  const Program program;
  const std::string pipe = program.file("pipe");
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  std::filesystem::create_directory(program.file("words"));
  write_file(program.file("words") + "/vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n");
  const std::string words = "[data]\ntokenizer = \"" + program.file("words") + "\"\n";
  const std::string model = "[model]\nhidden_size = 8\nnum_layers = 1\nnum_heads = 1\nmax_positions = 64\n";
  const std::string encoder = model + "architecture = \"bert\"\n" + words;
  const std::pair<const char*, std::string> tasks[] = {
      {"gpt", model + "[data]\ntokenizer = \"characters\"\n"}, {"gpt", model + words}, {"mlm", encoder},
      {"thought", model + words + "[thought]\ncontext = 32\ncount = 0\n"}};
  for (const auto& [task, sections] : tasks) {
    const std::string config =
        program.write("task.cfg", "task = \"" + std::string(task) + "\"\nname = \"run\"\noutput_dir = \"" +
                                      program.file("runs") + "\"\n" + sections);
    CAPTURE(sections);
    for (const auto& [text, error] : {std::pair<std::string, std::string>{"/dev/zero", "it is a device, not a file"},
                                      {"/dev/urandom", "it is a device, not a file"},
                                      {pipe, "it is a pipe, not a file: write what it gives into a file"},
                                      {program.file("words"), "Is a directory"}})
      program.fails({"train", config, "--data.train", text}, 1, "cannot read " + text + ": " + error);
  }
  // Labelled data is read once, so that it may come from a pipe.
  const std::string config = program.write("sst2.cfg", "task = \"sst2\"\nname = \"run\"\n" + encoder);
  program.fails({"inspect", config, "--data.train", "/dev/zero"}, 1, "/dev/zero: it is a device that gives more than");
  const Ended piped = program.shell(program.path() + " inspect " + config + " --training.batch_size 2 --data.train " +
                                    "<(printf 'sentence\\tlabel\\na\\t1\\na a\\t0\\n')");
  CAPTURE(piped.error);
  CHECK(piped.code == 0);
  CHECK(piped.out.find("sequences: 2\n") != std::string::npos);
  QuestionSet set;
  CHECK(error_of([&] { read_questions("/dev/zero", AnswersWanted::no, set); })
            .starts_with("cannot read /dev/zero: it is a device that gives more than"));
}

}  // namespace engine::test::test_full_device
