// RankTrainings whose ranks share the optimizer's work, or cut batches into virtual shards, beside those that do not.
#include <doctest/doctest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/safetensors.h"
#include "tests/program.h"

namespace engine::test::test_sharded_ranks {

namespace {

// Some of its parameters are larger than others by far, some are looked up, and none has a size that ranks divide.
const char* const config_text = R"(task = "gpt"
name = "run"
threads = 1
precision = "f32"
device = "cpu"
[data]
train = "tests/data/walk.txt"
eval = "tests/data/walk.txt"
eval_sequences = 9
block_size = 14
tokenizer = "characters"
[model]
architecture = "gpt_neox"
hidden_size = 36
num_layers = 2
num_heads = 2
ffn_size = 49
max_positions = 14
dropout = 0.1
[training]
batch_size = 11
micro_batch_size = 2
max_steps = 8
learning_rate = 0.01
adam_epsilon = 1e-4
weight_decay = 0.01
max_grad_norm = 0.5
scheduler = "constant"
log_every = 1
eval_every = 4
save_every = 0
)";

const std::string sharded = " --training.shard_optimizer true", virtually = " --training.reduction_shards 8";

struct RankTrainings {
  Program program;
  std::string config = program.write("task.cfg", config_text);

  std::string command(int ranks, const std::string& name, const std::string& more) const {
    return program.path() + " train " + config + " --output_dir " + program.file("runs") + " --name " + name +
           " --ranks " + std::to_string(ranks) + more;
  }
  Ended train(int ranks, const std::string& name, const std::string& more = "") const {
    Ended ended = program.shell(command(ranks, name, more));
    CAPTURE(name);
    CAPTURE(ended.error);
    CHECK(ended.code == 0);
    return ended;
  }
  // Trains with so many ranks, one of which is killed once there is a state of a step.
  void train_and_kill(int ranks, const std::string& name, const std::string& more) const {
    const Ended ended = program.shell(command(ranks, name, more + " --training.save_every 1") + R"( &
launcher=$!
for i in $(seq 600); do [ -e )" + file(name, "state/progress.json") + R"( ] && break; sleep 0.02; done
ranks=($(cat /proc/$launcher/task/$launcher/children))
kill -9 ${ranks[1]}
wait $launcher)");
    CAPTURE(ended.error);
    CHECK(ended.code == 1);
    CHECK(ended.error.find("rank 1 of 4 ended without a word") != std::string::npos);
  }
  std::string file(const std::string& name, const std::string& what) const {
    return program.file("runs") + "/" + name + "/" + what;
  }
  std::string model(const std::string& name) const { return read_text(file(name, "last/model.safetensors")); }
  // Returns the numbers of the log that do not depend on the clock or the machine.
  std::vector<double> log(const std::string& name) const {
    std::istringstream lines(read_text(file(name, "metrics.jsonl")));
    std::vector<double> numbers;
    for (std::string line; std::getline(lines, line);) {
      const nlohmann::json event = nlohmann::json::parse(line);
      for (const char* const key : {"step", "loss", "grad_norm"})
        if (event.contains(key)) numbers.push_back(event.at(key).get<double>());
    }
    return numbers;
  }

  void check_same_bits(const std::string& one, const std::string& other) const {
    CAPTURE(other);
    CHECK(log(one) == log(other));
    CHECK(model(one) == model(other));
    const Safetensors a = Safetensors::open(file(one, "state/tensors.safetensors")),
                      b = Safetensors::open(file(other, "state/tensors.safetensors"));
    CHECK(a.entries().size() == b.entries().size());
    for (const auto& [name, entry] : a.entries()) {
      CAPTURE(name);
      CHECK(std::string_view(entry.data, entry.bytes) == std::string_view(b.at(name).data, b.at(name).bytes));
    }
  }
  // Checks losses and norms to rounding. Adam's epsilon is far above the rounding errors of gradients, so that these
  // do not grow much in 8 steps.
  void check_same_training(const std::string& one, const std::string& other) const {
    CAPTURE(other);
    const std::vector<double> a = log(one), b = log(other);
    REQUIRE(a.size() == b.size());
    REQUIRE(a.size() > 20);
    for (size_t i = 0; i < a.size(); ++i) CHECK(b[i] == doctest::Approx(a[i]).epsilon(1e-4));
    CHECK(Safetensors::open(file(other, "state/tensors.safetensors")).entries().size() ==
          Safetensors::open(file(one, "state/tensors.safetensors")).entries().size());
  }
};

}  // namespace

TEST_CASE("sharded ranks: any number of them trains as one does, with every kind of clipping and averages") {
  const RankTrainings trainings;
  const std::string kinds[] = {"", " --training.max_tensor_norm 0.05 --training.max_grad_norm 0",
                               " --training.swa_start 2 --training.swa_every 1 --training.lookahead_every 3",
                               " --training.lookahead_every 3 --training.evaluate_on slow_weights "
                               "--training.learning_rate_scales embedding:0"};
  for (size_t i = 0; i < std::size(kinds); ++i) {
    const std::string kind = std::to_string(i);
    trainings.train(1, "one" + kind, kinds[i]);
    trainings.train(3, "three" + kind, kinds[i] + sharded);
    trainings.check_same_training("one" + kind, "three" + kind);
  }
  const Ended ended = trainings.train(4, "four", sharded);
  trainings.check_same_training("one0", "four");
  CHECK(ended.out.find(" MiB is divided among 4 ranks, which hold 0.0") != std::string::npos);
  // The comparison sees a training that differs.
  trainings.train(1, "other", " --training.max_grad_norm 0.4");
  const size_t second_loss = 4;
  CHECK(trainings.log("other")[second_loss] != doctest::Approx(trainings.log("one0")[second_loss]).epsilon(1e-4));
}

TEST_CASE("sharded ranks: two have the bits of two that are not, where the norm changes nothing") {
  const RankTrainings trainings;
  const std::string plain = " --training.max_grad_norm 0 --training.swa_start 3 --training.swa_every 2";
  trainings.train(2, "whole", plain);
  trainings.train(2, "sharded", plain + sharded);
  CHECK(trainings.model("whole") == trainings.model("sharded"));
}

TEST_CASE("virtual shards: 1, 2, 4 and 8 ranks train to the same bits, whether they share the optimizer or not") {
  const RankTrainings trainings;
  const std::string more = virtually + " --training.swa_start 3 --training.swa_every 2 --training.lookahead_every 3";
  trainings.train(1, "one", more);
  for (const int ranks : {2, 4, 8}) {
    const std::string name = std::to_string(ranks);
    trainings.train(ranks, "whole" + name, more);
    trainings.check_same_bits("one", "whole" + name);
    trainings.train(ranks, "sharded" + name, more + sharded);
    trainings.check_same_bits("one", "sharded" + name);
  }
  // It is the same training to rounding, and without them ranks differ in some bit.
  const std::string averages = more.substr(virtually.size());
  trainings.train(1, "plain", averages);
  trainings.check_same_training("plain", "one");
  trainings.train(2, "plain2", averages);
  CHECK(trainings.model("plain") != trainings.model("plain2"));
}

TEST_CASE("virtual shards: each gradient's own clipping has the same bits, and so has a batch with empty shards") {
  const RankTrainings trainings;
  const std::string more = " --training.reduction_shards 4 --training.max_tensor_norm 0.05 --training.batch_tokens 40";
  trainings.train(1, "one", more);
  trainings.train(4, "whole", more);
  trainings.train(2, "sharded", more + sharded);
  trainings.check_same_bits("one", "whole");
  trainings.check_same_bits("one", "sharded");
}

TEST_CASE("sharded ranks: a killed training goes on with any number of ranks, bit by bit with virtual shards") {
  const RankTrainings trainings;
  const std::string averages = " --training.swa_start 2 --training.swa_every 1 --training.lookahead_every 3";
  const std::string more = virtually + averages + " --training.max_steps 40 --training.eval_every 0";
  trainings.train(1, "one", more);
  for (const auto& [ranks, how] : {std::pair{1, sharded}, {2, std::string()}, {8, sharded}}) {
    const std::string name = "killed" + std::to_string(ranks);
    trainings.train_and_kill(4, name, more + sharded);
    trainings.train(ranks, name, more + how);
    trainings.check_same_bits("one", name);
  }
  // Three ranks cannot share eight virtual shards.
  const std::string shorter = averages + " --training.eval_every 7 --training.max_steps ";
  trainings.train(1, "plain", shorter + "24");
  trainings.train_and_kill(4, "plain3", shorter + "24" + sharded);
  trainings.train(3, "plain3", shorter + "24" + sharded);
  trainings.check_same_training("plain", "plain3");
  trainings.train(2, "plain2", shorter + "7");
  trainings.train(4, "plain2", shorter + "24" + sharded);
  trainings.check_same_training("plain", "plain2");
}

TEST_CASE("sharded ranks: a step that is not finite changes nothing, and goes back to the last saved state") {
  const RankTrainings trainings;
  const std::string command = trainings.command(
      3, "wild", sharded + " --training.learning_rate 1e30 --training.scheduler constant --training.max_rollbacks 1");
  const Ended ended = trainings.program.shell(command);
  CAPTURE(ended.error);
  CHECK(ended.code == 1);
  CHECK(ended.out.find("rollback 1 of 1") != std::string::npos);
  CHECK(ended.error.find("The parameters are those before this step") != std::string::npos);
  CHECK(ended.error.find('\n') == ended.error.size() - 1);
}

TEST_CASE("virtual shards: ranks that cannot share them are refused, and nothing is written") {
  const RankTrainings trainings;
  const Ended ended = trainings.program.shell(trainings.command(3, "wrong", virtually));
  CHECK(ended.code == 2);
  CHECK(ended.error.find("training.reduction_shards is 8, which 3 ranks cannot share equally") != std::string::npos);
  CHECK(ended.error.find('\n') == ended.error.size() - 1);
  CHECK_FALSE(std::filesystem::exists(trainings.file("wrong", "")));
  const Ended other = trainings.program.shell(trainings.command(2, "wrong", " --training.reduction_shards 12"));
  CHECK(other.error.find("a power of two is right") != std::string::npos);
}

}  // namespace engine::test::test_sharded_ranks
