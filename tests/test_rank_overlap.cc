// Exchanges of ranks go on behind the work of the caller, by TCP and by MPI.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <nlohmann/json.hpp>

#include "tests/mpirun.h"
#include "tests/program.h"
#include "tests/rank_threads.h"
#include "tests/skip.h"

namespace engine::test::test_rank_overlap {

namespace {

// Starts exchanges that are too large for one message, and never waits for them. They are done all the same.
void check_goes_on_alone(Communicator& ranks) {
  const auto size = static_cast<float>(ranks.size());
  std::vector<float> values(1 << 20, 1), last(1 << 20, 1);
  ranks.start_sum(values);
  ranks.start_sum(last);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  const auto is_done = [&](std::vector<float>& of) {
    return std::all_of(of.begin(), of.end(), [&](float& value) { return std::atomic_ref(value).load() == size; });
  };
  while (!is_done(last) && std::chrono::steady_clock::now() < end)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  CHECK(is_done(values));
  CHECK(is_done(last));
  ranks.wait();
}

// Checks that a trace has exchanges which were started before the last part of the backward pass.
void check_overlap(const std::string& file) {
  const nlohmann::json events = nlohmann::json::parse(read_text(file)).at("traceEvents");
  int track = -1, early = 0, all = 0;
  double last_backward = 0;
  for (const nlohmann::json& event : events) {
    if (event["name"] == "thread_name" && event["args"]["name"] == "exchanges") track = event["tid"];
    if (event["name"] == "backward") last_backward = std::max(last_backward, event["ts"].get<double>());
  }
  for (const nlohmann::json& event : events) {
    if (event["ph"] != "X" || event["tid"] != track) continue;
    ++all;
    if (event["ts"].get<double>() - event["args"]["waited"].get<double>() < last_backward) ++early;
    CHECK(event["args"]["bytes"] > 0);
  }
  CAPTURE(all);
  CHECK(early >= 4);
  CHECK(all > early);  // the last gradients are complete when the backward pass has ended
}

// Checks that a trace has the exchange of a tied table of so many bytes, started after the loss and before the backward
// pass of any block.
void check_early_head(const std::string& file, size_t bytes) {
  const nlohmann::json events = nlohmann::json::parse(read_text(file)).at("traceEvents");
  double loss = -1, blocks = -1, started = -1;
  for (const nlohmann::json& event : events) {
    if (event["ph"] != "X") continue;
    const double at = event["ts"];
    if (event["name"] == "cross_entropy") loss = at;
    if (event["name"] == "attention_backward" && blocks < 0) blocks = at;
    if (event["name"] == "sum" && event["args"]["bytes"] == bytes) {
      CHECK(started < 0);
      started = at - event["args"]["waited"].get<double>();
    }
  }
  CHECK(loss > 0);
  CHECK(started > loss);
  CHECK(started < blocks);
}

struct TracedRanks {
  Program program;
  std::string trace = program.file("trace.json");
  std::string command;

  explicit TracedRanks(const std::string& config)
      : command(program.path() + " profile " + program.write("task.cfg", config) +
                " --training.batch_size 8 --training.max_steps 3 --model.hidden_size 128 --model.num_layers 2"
                " --threads 1 --steps 1 --output_dir " + program.file("runs") + " --trace " + trace) {}

  // Calls check(trace) for ranks over TCP, and by MPI.
  template <class Check>
  void check(const Check& check) const {
    const Ended ended = program.shell(command + " --ranks 2");
    CAPTURE(ended.error);
    REQUIRE(ended.code == 0);
    check(trace);
    if (const char* const why = why_no_ranks()) SKIP_TEST(why);
    const Ended by_mpi =
        program.shell("rm " + trace + "; " + mpi_environment + mpirun + "2 " + command + " < /dev/null");
    CAPTURE(by_mpi.error);
    REQUIRE(by_mpi.code == 0);
    check(trace);
  }
};

}  // namespace

TEST_CASE("rank overlap: over TCP a large sum is done while nobody waits for it") {
  as_ranks(2, [](Communicator& ranks) { check_goes_on_alone(ranks); });
}

TEST_CASE("rank overlap: a rank of mpirun's" * doctest::skip()) {
  if (mpirun_size(own_environment()) != 2) return;
  const std::unique_ptr<Communicator> ranks = make_communicator();
  REQUIRE(ranks->size() == 2);
  check_goes_on_alone(*ranks);
}

TEST_CASE("rank overlap: by MPI a large sum is done while nobody waits for it") {
  if (const char* const why = why_no_ranks()) SKIP_TEST(why);
  const Program program;
  const std::string tests = std::filesystem::read_symlink("/proc/self/exe").string();
  const Ended ended = program.shell(mpi_environment + mpirun + "2 " + tests +
                                    " -tc=\"rank overlap: a rank of mpirun's\" --no-skip < /dev/null");
  CAPTURE(ended.out);
  CHECK(ended.code == 0);
  CHECK(ended.out.find("3 passed") != std::string::npos);
}

TEST_CASE("rank overlap: a trace shows that gradients travel while the backward pass goes on") {
  TracedRanks(small_scratchpad).check(check_overlap);
}

TEST_CASE("rank overlap: a trace shows that the head's part of a tied table travels behind the whole backward pass") {
  constexpr size_t tokens = 400, bytes = tokens * 128 * sizeof(float);
  const TracedRanks traced(R"(task = "gpt"
name = "run"
precision = "f32"
device = "cpu"
[data]
train = "tests/data/walk.txt"
eval = "tests/data/walk.txt"
block_size = 32
tokenizer = "characters"
[model]
architecture = "gpt2"
vocab_size = )" + std::to_string(tokens) + R"(
num_heads = 2
max_positions = 32
)");
  traced.check([](const std::string& file) { check_early_head(file, bytes); });
}

}  // namespace engine::test::test_rank_overlap
