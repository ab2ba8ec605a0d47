// Output that cannot be written ends in an error that names the file, the standard output included.
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

}  // namespace engine::test::test_full_device
