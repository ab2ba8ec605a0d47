// Ranks that find one another over TCP: what started them, their exchanges, and how all end where one does.
#include "core/socket_communicator.h"

#include <doctest/doctest.h>

#include <functional>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/sockets.h"
#include "tests/program.h"

namespace engine::test::test_socket_ranks {

namespace {

Environment environment_of(const std::map<std::string, std::string>& variables) {
  return [&variables](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  };
}

int free_port() { return port_of(listen_at(0)); }

// Runs work(communicator) as each of so many ranks, which are threads here.
void as_ranks(int size, const std::function<void(Communicator&)>& work) {
  const int port = free_port();
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank)
    threads.emplace_back([=, &work] {
      const auto ranks = make_socket_communicator({rank, size, "127.0.0.1", port, false, "job"}, 30);
      work(*ranks);
    });
  for (std::thread& thread : threads) thread.join();
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
  CHECK(first_host("n[12-13]-x") == "n12");
  CHECK_THROWS_AS(first_host(""), UsageError);
}

TEST_CASE("socket ranks: sums have the same bits on all ranks, whatever their number and the size") {
  for (const int size : {2, 3, 5}) {
    CAPTURE(size);
    for (const size_t count : {size_t{0}, size_t{1}, size_t{4}, size_t{100003}}) {
      std::vector<std::vector<float>> sums(static_cast<size_t>(size));
      std::vector<double> expected(count);
      for (int rank = 0; rank < size; ++rank) {
        std::mt19937 random(static_cast<unsigned>(rank));
        std::vector<float>& own = sums[static_cast<size_t>(rank)];
        own.resize(count);
        for (size_t i = 0; i < count; ++i) {
          own[i] = static_cast<float>(static_cast<int>(random() % 2001) - 1000) / 7;
          expected[i] += static_cast<double>(own[i]);
        }
      }
      as_ranks(size, [&](Communicator& ranks) {
        std::vector<float>& own = sums[static_cast<size_t>(ranks.rank())];
        ranks.start_sum(std::span(own).first(count / 3));
        ranks.start_sum(std::span(own).subspan(count / 3));
        ranks.wait();
      });
      for (const std::vector<float>& one : sums) CHECK(one == sums[0]);
      double farthest = 0;
      for (size_t i = 0; i < count; ++i)
        farthest = std::max(farthest, std::abs(static_cast<double>(sums[0][i]) - expected[i]));
      CHECK(farthest < 1e-3);
    }
  }
}

// Returns numbers of a rank whose sums are rounded.
std::vector<float> numbers_of_rank(int rank, size_t count) {
  std::mt19937 random(static_cast<unsigned>(rank) + 17);
  std::vector<float> numbers(count);
  for (float& number : numbers) number = static_cast<float>(static_cast<int>(random() % 2001) - 1000) / 7;
  return numbers;
}

std::vector<float> sum_by_tree(int first, int ranks, size_t count) {
  if (ranks == 1) return numbers_of_rank(first, count);
  std::vector<float> sum = sum_by_tree(first, ranks / 2, count);
  const std::vector<float> other = sum_by_tree(first + ranks / 2, ranks / 2, count);
  for (size_t i = 0; i < count; ++i) sum[i] += other[i];
  return sum;
}

TEST_CASE("socket ranks: a sum by a tree has the bits of that tree, and parts may be unequal or empty") {
  for (const int size : {2, 4, 8}) {
    CAPTURE(size);
    for (const size_t count : {size_t{0}, size_t{5}, size_t{3001}}) {
      CAPTURE(count);
      const std::vector<float> expected = sum_by_tree(0, size, count);
      std::vector<int64_t> begins{0};
      for (int rank = 1; rank < size; ++rank)
        begins.push_back(rank == 2 ? begins.back() : static_cast<int64_t>(count) * rank * rank / (size * size));
      begins.push_back(static_cast<int64_t>(count));
      std::vector<std::vector<float>> sums(static_cast<size_t>(size)), parts(static_cast<size_t>(size));
      as_ranks(size, [&](Communicator& ranks) {
        const auto own = static_cast<size_t>(ranks.rank());
        sums[own] = parts[own] = numbers_of_rank(ranks.rank(), count);
        ranks.start_sum(sums[own], SumOrder::tree);
        ranks.start_reduce_scatter(parts[own], begins, SumOrder::tree);
        ranks.wait();
        for (size_t i = 0; i < count; ++i)
          if (std::cmp_less(i, begins[own]) || std::cmp_greater_equal(i, begins[own + 1])) parts[own][i] = -1;
        std::vector<int64_t> bytes = begins;
        for (int64_t& begin : bytes) begin *= static_cast<int64_t>(sizeof(float));
        ranks.start_all_gather(std::as_writable_bytes(std::span(parts[own])), bytes);
        ranks.wait();
      });
      for (int rank = 0; rank < size; ++rank) {
        CHECK(sums[static_cast<size_t>(rank)] == expected);
        CHECK(parts[static_cast<size_t>(rank)] == expected);
      }
    }
  }
  as_ranks(3, [](Communicator& ranks) {
    std::vector<float> values(1);
    CHECK_THROWS_WITH_AS(ranks.start_sum(values, SumOrder::tree),
                         "a sum by a tree over 3 ranks, which are no power of two", Error);
  });
}

TEST_CASE("socket ranks: a part's sum is the sum of its elements, wherever it begins") {
  const std::vector<int64_t> begins{0, 0, 700, 701, 3001};
  std::vector<double> expected(3001);
  for (int rank = 0; rank < 4; ++rank) {
    const std::vector<float> numbers = numbers_of_rank(rank, expected.size());
    for (size_t i = 0; i < expected.size(); ++i) expected[i] += static_cast<double>(numbers[i]);
  }
  as_ranks(4, [&](Communicator& ranks) {
    std::vector<float> values = numbers_of_rank(ranks.rank(), 3001);
    ranks.start_reduce_scatter(values, begins);
    ranks.wait();
    const auto own = static_cast<size_t>(ranks.rank());
    double farthest = 0;
    for (auto i = static_cast<size_t>(begins[own]); i < static_cast<size_t>(begins[own + 1]); ++i)
      farthest = std::max(farthest, std::abs(static_cast<double>(values[i]) - expected[i]));
    CHECK(farthest < 1e-3);
  });
}

TEST_CASE("socket ranks: everything else that a communicator does") {
  as_ranks(3, [](Communicator& ranks) {
    CHECK(ranks.size() == 3);
    CHECK(ranks.local_size() == 3);
    CHECK(ranks.local_rank() == ranks.rank());
    CHECK(ranks.is_first() == (ranks.rank() == 0));
    std::vector<double> doubles{0.5, static_cast<double>(ranks.rank())};
    ranks.sum(doubles);
    CHECK(doubles == std::vector<double>{1.5, 3});
    std::vector<uint8_t> bits{static_cast<uint8_t>(1 << ranks.rank()), 0, 8};
    ranks.start_or(bits);
    ranks.wait();
    CHECK(bits == std::vector<uint8_t>{7, 0, 8});
    const std::vector<int32_t> own(static_cast<size_t>(ranks.rank()), ranks.rank());
    CHECK(ranks.gather(own) == std::vector<int32_t>{1, 2, 2});
    CHECK(ranks.gather(std::vector<float>{}) == std::vector<float>{});
    CHECK(ranks.gather(std::vector<std::string>{"of " + std::to_string(ranks.rank()), ""}) ==
          std::vector<std::string>{"of 0", "", "of 1", "", "of 2", ""});
    require_same_on_all_ranks(ranks, "text", "a\nb\n");
    const std::string text = ranks.rank() == 2 ? "a\nc\n" : "a\nb\n";
    CHECK_THROWS_WITH_AS(require_same_on_all_ranks(ranks, "text", text),
                         "rank 2 has another text than rank 0: c in place of b", Error);
    const std::string longer = ranks.rank() == 1 ? "a\nb\nc" : "a\nb";
    CHECK_THROWS_WITH_AS(require_same_on_all_ranks(ranks, "text", longer),
                         "rank 1 has another text than rank 0: c in place of nothing", Error);
  });
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
  const Ended of_stopped =
      stopped.run(2, "--communication_timeout 4", "kill -STOP ${ranks[1]}; sleep 9; kill -9 ${ranks[1]}");
  CHECK(of_stopped.code == 1);
  check_one_line(of_stopped, "rank 1 of 2 has not answered for 4 s");
  const Ended of_signal = signalled.run(2, "", "kill -INT $launcher");
  CHECK(of_signal.code == 130);
  // The second signal ends at once what the first one has asked to save.
  const Training twice;
  CHECK(twice.run(2, "", "kill -INT $launcher; sleep 0.05; kill -INT $launcher").code == 130);
}

}  // namespace engine::test::test_socket_ranks
