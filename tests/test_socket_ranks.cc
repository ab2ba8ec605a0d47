// Ranks that find one another over TCP: what started them, and how all end where one does.
#include "core/socket_communicator.h"

#include <doctest/doctest.h>

#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/sockets.h"
#include "tests/program.h"
#include "tests/rank_threads.h"

namespace engine::test::test_socket_ranks {

namespace {

Environment environment_of(const std::map<std::string, std::string>& variables) {
  return [&variables](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  };
}

// A training over some steps, and how its ranks are told from outside.
struct Training {
  Program program;
  std::string config = program.write("task.cfg", small_scratchpad + R"(
[training]
batch_size = 8
max_steps = 100000
scheduler = "constant"
log_every = 1
eval_every = 0
save_every = 5
)");
  std::string arguments = " train " + config + " --output_dir " + program.file("runs") + " --threads 1 ";

  // Starts so many ranks and, once the training has a state, does `then`, in which $ranks are their process numbers.
  Ended run(int ranks, const std::string& more, const std::string& then) const {
    return program.shell(program.path() + arguments + "--ranks " + std::to_string(ranks) + " " + more + R"( &
launcher=$!
for i in $(seq 600); do [ -e )" + program.file("runs") + R"(/run/state/progress.json ] && break; sleep 0.05; done
ranks=($(cat /proc/$launcher/task/$launcher/children))
)" + then + R"(
wait $launcher)");
  }
};

void check_one_line(const Ended& ended, const std::string& text) {
  CAPTURE(ended.error);
  CHECK(ended.error.starts_with("engine: "));
  CHECK(ended.error.find(text) != std::string::npos);
  CHECK(ended.error.find('\n') == ended.error.size() - 1);
}

}  // namespace

TEST_CASE("rank place: torchrun's and Slurm's environments, and those that lack something") {
  const RankPlace alone = rank_place(environment_of({}));
  CHECK(alone.size == 1);
  std::map<std::string, std::string> torch{
      {"RANK", "2"}, {"WORLD_SIZE", "4"}, {"MASTER_ADDR", "node1"}, {"MASTER_PORT", "29500"}};
  const RankPlace of_torch = rank_place(environment_of(torch));
  CHECK(of_torch.rank == 2);
  CHECK(of_torch.size == 4);
  CHECK(of_torch.host == "node1");
  CHECK(of_torch.port == 29500);
  CHECK(of_torch.job == "port 29500");
  CHECK_FALSE(of_torch.port_is_taken);
  torch["TORCHELASTIC_RUN_ID"] = "none";
  CHECK(rank_place(environment_of(torch)).port_is_taken);
  for (const auto& [name, wrong] : std::map<std::string, std::string>{
           {"RANK", "4"}, {"WORLD_SIZE", "two"}, {"MASTER_PORT", "0"}, {"RANK", "-1"}}) {
    std::map<std::string, std::string> changed = torch;
    changed[name] = wrong;
    CHECK_THROWS_WITH_AS(rank_place(environment_of(changed)), doctest::Contains(name.c_str()), UsageError);
  }
  for (const char* const name : {"MASTER_ADDR", "MASTER_PORT"}) {
    std::map<std::string, std::string> changed = torch;
    changed.erase(name);
    CHECK_THROWS_WITH_AS(rank_place(environment_of(changed)), doctest::Contains(name), UsageError);
  }
  std::map<std::string, std::string> slurm{
      {"SLURM_PROCID", "3"}, {"SLURM_NTASKS", "8"}, {"SLURM_JOB_ID", "70001"},
      {"SLURM_STEP_NODELIST", "gpu[007-010],other"}};
  // A shell inside an allocation is no task of a step.
  CHECK(rank_place(environment_of(slurm)).size == 1);
  slurm["SLURM_STEP_ID"] = "0";
  const RankPlace of_slurm = rank_place(environment_of(slurm));
  CHECK(of_slurm.rank == 3);
  CHECK(of_slurm.size == 8);
  CHECK(of_slurm.host == "gpu007");
  CHECK(of_slurm.port == 30001);
  CHECK(of_slurm.job == "job 70001, step 0");
  slurm["MASTER_ADDR"] = "head", slurm["MASTER_PORT"] = "1234";
  CHECK(rank_place(environment_of(slurm)).host == "head");
  CHECK(rank_place(environment_of(slurm)).port == 1234);
  CHECK(first_host("a") == "a");
  CHECK(first_host("a,b") == "a");
  CHECK(first_host("n[3,5-7]") == "n3");
  CHECK(first_host("node[01-03,07]") == "node01");
  CHECK(first_host("n[12-13]-x,m") == "n12-x");
  CHECK(first_host("rack[2-3]n[08,10]") == "rack2n08");
  CHECK_THROWS_AS(first_host(""), UsageError);
  CHECK_THROWS_AS(first_host("n[1"), UsageError);
  // A step of fewer tasks than its job has.
  slurm["SLURM_STEP_NUM_TASKS"] = "4";
  CHECK(rank_place(environment_of(slurm)).size == 4);
  CHECK_THROWS_WITH_AS(rank_place(environment_of({{"RANK", "1"}})),
                       "the environment has RANK = 1 and no WORLD_SIZE: set both, or unset RANK", UsageError);
  CHECK_THROWS_WITH_AS(rank_place(environment_of({{"WORLD_SIZE", "2"}})), doctest::Contains("has no RANK"), UsageError);
  CHECK(rank_place(environment_of({{"WORLD_SIZE", "1"}})).size == 1);
}

TEST_CASE("socket ranks: one of another version, and two that say they are the same, are named") {
  const auto refused = [](const std::string& version, int32_t rank) {
    const int port = free_port();
    std::string hello = "engine 1";
    for (const int32_t number : {rank, 3, 1}) hello.append(reinterpret_cast<const char*>(&number), sizeof number);
    for (const auto& [text, size] : {std::pair<std::string, size_t>{version, 32}, {"node7", 72}, {"job", 96}})
      hello.append(text).append(size - text.size(), '\0');
    std::string line;
    std::thread first([&] {
      try {
        make_socket_communicator({0, 3, "127.0.0.1", port, false, "job"}, 30);
      } catch (const Error& error) {
        line = error.what();
      }
    });
    std::vector<Socket> others;
    for (int tries = 0; others.size() < 2 && tries < 2000; ++tries) {
      Socket socket = connect_to("127.0.0.1", port, seconds_from_now(5));
      if (!socket) std::this_thread::sleep_for(std::chrono::milliseconds(10));
      else if (socket.send(hello.data(), hello.size(), seconds_from_now(5))) others.push_back(std::move(socket));
    }
    first.join();
    return line;
  };
  CHECK(refused("0.9", 1) == "rank 1 on node7 is version 0.9 of this program, and rank 0 is version 1.0, protocol 2");
  CHECK(refused("1.0, protocol 2", 2).starts_with("two processes say that they are rank 2: have two jobs one MASTER"));
}

TEST_CASE("socket ranks: jobs whose ports are neighbours do not meet") {
  const int port = free_port();
  std::vector<std::thread> threads;
  for (const int job : {0, 1})
    for (const int rank : {1, 0})
      threads.emplace_back([=] {
        const std::string name = "job " + std::to_string(job);
        const auto ranks = make_socket_communicator({rank, 2, "127.0.0.1", port + job, false, name}, 30);
        CHECK(ranks->gather(std::vector<int32_t>{10 * job + rank}) == std::vector<int32_t>{10 * job, 10 * job + 1});
      });
  for (std::thread& thread : threads) thread.join();
}

TEST_CASE("socket ranks: a port that someone else listens at is passed by") {
  const Socket other = listen_at(0);
  const int port = port_of(other);
  std::thread second([&] {
    const auto ranks = make_socket_communicator({1, 2, "127.0.0.1", port, true, "job"}, 30);
    CHECK(ranks->gather(std::vector<int32_t>{5}) == std::vector<int32_t>{4, 5});
  });
  const auto ranks = make_socket_communicator({0, 2, "127.0.0.1", port, true, "job"}, 30);
  CHECK(ranks->gather(std::vector<int32_t>{4}) == std::vector<int32_t>{4, 5});
  second.join();
}

TEST_CASE("socket ranks: a rank that does not come, or has another configuration, is named in one line") {
  const Program program;
  const std::string port = std::to_string(free_port());
  const std::string variables = "WORLD_SIZE=3 MASTER_ADDR=127.0.0.1 MASTER_PORT=" + port + " ENGINE_START_TIMEOUT=1 ";
  const Ended missing = program.shell("RANK=1 " + variables + program.path() + " info > /dev/null & RANK=0 " +
                                      variables + program.path() + " info; code=$?; wait; exit $code");
  CHECK(missing.code == 1);
  check_one_line(missing, "rank 2 of 3 did not come within 1 s");
  const Training training;
  const std::string two = "WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=" + port + " ";
  const Ended other = program.shell("RANK=1 " + two + program.path() + training.arguments + "--seed 5 & RANK=0 " + two +
                                    program.path() + training.arguments + "; code=$?; wait; exit $code");
  CHECK(other.code == 1);
  check_one_line(other, "rank 1 has another configuration than rank 0: seed = 5 in place of seed = 1");
  const Ended wrong = program.run({"train", training.config, "--ranks", "2", "--training.batch_size", "none"});
  CHECK(wrong.code == 2);
  check_one_line(wrong, "training.batch_size");
  program.fails({"train", training.config, "--ranks", "0"}, 2, "--ranks is \"0\"");
  program.fails({"train", training.config, "--ranks"}, 2, "a number of ranks is missing");
  program.fails({"train", training.config, "--ranks", "2", "--ranks=3"}, 2, "--ranks is given twice");
  for (const char* const name : {"OMPI_COMM_WORLD_SIZE", "WORLD_SIZE"}) {
    std::string command(name);
    command.append("=2 ").append(program.path()).append(" info --ranks 2");
    check_one_line(program.shell(command), std::string("already one of 2 ranks, as the environment's ").append(name));
  }
}

TEST_CASE("socket ranks: where one is killed or stopped all end, and the training goes on bit by bit") {
  const Training training, whole;
  const Ended killed = training.run(3, "", "kill -9 ${ranks[1]}");
  CHECK(killed.code == 1);
  check_one_line(killed, "rank 1 of 3 ended without a word");
  // The state that it left goes on as if nothing had happened.
  const auto finish = [](const Training& of) {
    const Ended ended = of.program.shell(of.program.path() + of.arguments + "--ranks 3 --training.max_steps 300");
    CAPTURE(ended.error);
    CHECK(ended.code == 0);
    return read_text(of.program.file("runs/run/last/model.safetensors"));
  };
  CHECK(finish(training) == finish(whole));
}

TEST_CASE("socket ranks: the second tells of the first one's death, a stopped one is noticed, signals go on") {
  const Training first, stopped, signalled;
  const Ended of_first = first.run(3, "", "kill -9 ${ranks[0]}");
  CHECK(of_first.code == 1);
  check_one_line(of_first, "rank 0 of 3 ended without a word");
  const Ended of_stopped = stopped.run(2, "--communication_timeout 4", "kill -STOP ${ranks[1]}");
  CHECK(of_stopped.code == 1);
  check_one_line(of_stopped, "rank 1 of 2 has not answered for 4 s");
  const Ended of_signal = signalled.run(2, "", "kill -INT $launcher");
  CHECK(of_signal.code == 130);
  // The second signal ends at once what the first one has asked to save.
  const Training twice;
  CHECK(twice.run(2, "", "kill -INT $launcher; sleep 0.05; kill -INT $launcher").code == 130);
}

}  // namespace engine::test::test_socket_ranks
