// Every system call of a training on the files of its folder fails once, is cut short or is the last before a kill. The
// training then goes on to the same bits, or says what is wrong and does so when it is started again.
#include <cstdlib>

#include "tests/same_run.h"
#include "tests/skip.h"
#include "tests/traced_program.h"
#include "tests/quick_place.h"

namespace engine::test::test_faults {

namespace fs = std::filesystem;

namespace {

// `make fault-test` tries every fault of every call, the tests by themselves one fault of every fourth call.
bool tries_all() { return std::getenv("ENGINE_TEST_ALL") != nullptr; }

// A tiny language model with samples, evaluations, checkpoints and savings after every step.
class FaultyRun {
 public:
  FaultyRun() : place_(quick_place()) {
    write_file(path("task.cfg"), R"(task = "gpt"
name = "run"
threads = 1
device = "cpu"
precision = "f32"
model = {hidden_size = 8, num_layers = 1, num_heads = 1, max_positions = 16}
data = {tokenizer = "characters"}
gpt = {samples = 1}
[training]
batch_size = 2
save_every = 1
eval_every = 1
log_every = 1
keep_checkpoints = 1
scheduler = "constant"
)");
    write_file(path("text.txt"), "the cat and the hat and the cap\nthe bat and the rat and the map\n");
  }

  std::string path(const std::string& name) const { return (place_.path() / name).string(); }
  std::string folder() const { return path("runs/run"); }
  std::vector<std::string> command(int steps) const {
    return {"train",        path("task.cfg"), "--output_dir",         path("runs"),         "--data.train",
            path("text.txt"), "--data.eval",    path("text.txt"), "--training.max_steps", std::to_string(steps)};
  }
  // Trains, and returns the folder's content.
  std::map<std::string, std::string> trained(int steps) const {
    const Ended ended = program.run(command(steps));
    INFO(ended.error);
    REQUIRE(ended.code == 0);
    return contents_of(folder());
  }
  // Puts the folder of another training in the place of the run's. Without a name there is none.
  void begin_from(const std::string& other) const {
    fs::remove_all(folder());
    if (!other.empty()) fs::copy(path(other), folder(), fs::copy_options::recursive);
  }

  const Program program;

 private:
  const TemporaryFolder place_;
};

// Runs a command once with a fault and, where that was an error, again. Returns what is wrong with that, or nothing.
std::string trouble_of(const FaultyRun& run, int steps, const Fault& fault, const FileCall& call,
                       const std::map<std::string, std::string>& wanted) {
  const TracedRun first = run_traced(run.program, run.command(steps), run.folder(), fault);
  const std::string& error = first.ended.error;
  if (static_cast<int64_t>(first.calls.size()) <= fault.call) return "the call never came";
  if (first.calls[static_cast<size_t>(fault.call)].text() != call.text())
    return "the call was " + first.calls[static_cast<size_t>(fault.call)].text();
  const bool must_go_on = fault.act == Fault::Act::shorten || (fault.act == Fault::Act::fail && fault.error == EINTR);
  if (fault.act == Fault::Act::kill) {
    if (first.ended.code != 128 + SIGKILL) return "it was not killed";
  } else if (first.ended.code == 1) {
    if (must_go_on) return "it gave up: " + error;
    const bool is_clear = error.starts_with("engine: ") && error.find('\n') == error.size() - 1 &&
                          error.find(run.path("")) != std::string::npos &&
                          error.find(std::generic_category().message(fault.error)) != std::string::npos;
    if (!is_clear) return "its error is: " + error;
  } else if (first.ended.code != 0) {
    return "it ended with " + std::to_string(first.ended.code) + ": " + error;
  }
  if (first.ended.code != 0) {
    const Ended second = run.program.run(run.command(steps));
    if (second.code != 0) return "it does not go on: " + second.error;
  }
  return difference_of(wanted, contents_of(run.folder()));
}

// Tries faults at each call of a command that goes on from the folder `begin`.
void try_faults(const FaultyRun& run, const std::string& begin, int steps) {
  run.begin_from(begin);
  const std::map<std::string, std::string> wanted = run.trained(steps);
  run.begin_from(begin);
  const std::vector<FileCall> calls = run_traced(run.program, run.command(steps), run.folder()).calls;
  REQUIRE(calls.size() > 100);
  int64_t tried = 0;
  for (int64_t i = 0; i < static_cast<int64_t>(calls.size()); ++i) {
    const FileCall& call = calls[static_cast<size_t>(i)];
    std::vector<Fault> faults = faults_of(call);
    if (!tries_all()) {
      if (i % 4 != 0) continue;
      faults = {faults[static_cast<size_t>(i / 4) % faults.size()]};
    }
    for (Fault& fault : faults) {
      fault.call = i;
      run.begin_from(begin);
      const std::string trouble = trouble_of(run, steps, fault, call, wanted);
      if (!trouble.empty()) FAIL_CHECK("call ", i, ": ", call.text(), " ", fault.text(), "\n", trouble);
      ++tried;
    }
  }
  MESSAGE(tried, " faults at ", calls.size(), " calls");
}

}  // namespace

TEST_CASE("faults: a new run whose system calls fail goes on with the same bits, or says what is wrong") {
  if (const std::string reason = why_no_tracing(); !reason.empty()) SKIP_TEST(reason.c_str());
  try_faults(FaultyRun(), "", 1);
}

TEST_CASE("faults: a run that goes on and whose system calls fail ends with the same bits, or says what is wrong") {
  if (const std::string reason = why_no_tracing(); !reason.empty()) SKIP_TEST(reason.c_str());
  const FaultyRun run;
  run.trained(2);
  fs::rename(run.folder(), run.path("begun"));
  try_faults(run, "begun", 3);
}

}  // namespace engine::test::test_faults
