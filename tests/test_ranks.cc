// Several ranks, as mpirun starts them, train as one rank would.
#include "core/communicator.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/files.h"
#include "core/safetensors.h"
#include "tests/mpirun.h"
#include "tests/program.h"
#include "tests/skip.h"
#include "tests/temporary.h"
#include "training/batch.h"

namespace engine::test::test_ranks {

namespace {

namespace fs = std::filesystem;

const char* const task_config = R"(task = "scratchpad"
name = "run"
threads = 1
precision = "f32"
device = "cpu"
[model]
architecture = "bart"
hidden_size = 32
num_layers = 1
decoder_layers = 1
num_heads = 2
max_positions = 128
dropout = 0.1
[scratchpad]
explanation = "self_learned"
evaluation = ["results"]
max_depth = 2
mixture = ["1:1", "2:1"]
eval_quantity = 7
[training]
batch_size = 9
max_steps = 4
micro_batch_size = 2
learning_rate = 0.01
adam_epsilon = 1e-4
scheduler = "constant"
log_every = 1
eval_every = 2
save_every = 2
)";

const char* const blotching_config = R"(task = "blotching"
name = "run"
threads = 1
precision = "f32"
device = "cpu"
[model]
hidden_size = 32
num_layers = 1
num_heads = 2
max_positions = 64
initializer_range = 0.2
[blotching]
max_num = 4
max_ents = 2
max_mult_num = 3
init_samples = 24
max_samples = 60
blotch_p_max = 0.6
n_btokens = 3
star_loops = 2
aug_loops = -1
axe_loops = -1
loop_rows = 40
pre_epochs = 18
aug_temp = 1.0
[training]
batch_size = 12
max_steps = 48
learning_rate = 0.004
scheduler = "constant"
log_every = 16
eval_every = 0
save_every = 40
)";

const char* const student_config = R"(task = "mlm"
name = "run"
threads = 1
precision = "f32"
device = "cpu"
[data]
train = "tests/data/walk.txt"
block_size = 16
[model]
architecture = "bert"
hidden_size = 32
num_layers = 1
num_heads = 2
max_positions = 16
dropout = 0.1
[training]
batch_size = 9
max_steps = 4
learning_rate = 0.01
adam_epsilon = 1e-4
scheduler = "constant"
log_every = 2
eval_every = 0
save_every = 0
)";

// Leaves the parameters at their initial values.
const std::string no_step = " --training.max_steps 1 --training.learning_rate 0";

struct Folder {
  TemporaryFolder temporary;
  fs::path path = temporary.path();

  explicit Folder(const std::string& config = task_config) { write_file(path / "task.cfg", config); }
  // Trains with so many ranks (0 for no mpirun) into a folder of this name, and returns the exit code.
  int train(int ranks, const std::string& name, const std::string& more = "") const {
    const std::string start = ranks ? mpirun + std::to_string(ranks) + " " : "";
    const std::string command = mpi_environment + start + program_path() + " train " + (path / "task.cfg").string() +
                                " --output_dir " + path.string() + " --name " + name + " " + more + " > " + out() +
                                " 2>&1 < /dev/null";
    return std::system(command.c_str());
  }
  // Does the same with ranks that the program starts itself, without MPI.
  int train_alone(int ranks, const std::string& name) const {
    return train(0, name, "--ranks " + std::to_string(ranks));
  }
  std::string out() const { return (path / "out").string(); }
};

std::vector<nlohmann::json> events(const fs::path& run) {
  std::istringstream log(read_text(run / "metrics.jsonl"));
  std::vector<nlohmann::json> lines;
  for (std::string line; std::getline(log, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

std::map<std::string, std::vector<float>> parameters_of(const fs::path& run) {
  const Safetensors file = Safetensors::open(run / "last" / "model.safetensors");
  std::map<std::string, std::vector<float>> all;
  for (const auto& [name, entry] : file.entries()) {
    std::vector<float>& values = all[name];
    values.resize(static_cast<size_t>(entry.count()));
    REQUIRE(entry.bytes == values.size() * sizeof(float));
    std::memcpy(values.data(), entry.data, entry.bytes);
  }
  return all;
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double largest = 0;
  REQUIRE(a.size() == b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    if (!(difference <= largest)) largest = difference;  // a NaN stays
  }
  return largest;
}

// Checks that two trainings moved every parameter alike. Adam's epsilon is far above the rounding errors of gradients
// here. (With a smaller one an update has the size of the rate, however small its gradient is, and one near 0 may go
// either way.) Gradients are sums of some hundred terms in another order, in each of 4 steps. The smallest ones, of
// queries and keys, are a thousandth of their terms, and so lose up to a hundredth of the way that they go.
void check_same_parameters(const fs::path& initial, const fs::path& a, const fs::path& b) {
  const auto begin = parameters_of(initial), one = parameters_of(a), other = parameters_of(b);
  REQUIRE(one.size() == begin.size());
  REQUIRE(one.size() == other.size());
  double farthest = 0;
  for (const auto& [name, values] : one) farthest = std::max(farthest, largest_difference(values, begin.at(name)));
  for (const auto& [name, values] : one) {
    CAPTURE(name);
    double size = 0;
    for (float value : values) size = std::max(size, std::abs(static_cast<double>(value)));
    const double moved = largest_difference(values, begin.at(name));
    // A bias of keys shifts all scores of a query alike, so its gradient is 0 but for rounding. BART's
    // final_logits_bias is no parameter.
    const bool has_gradient =
        !name.ends_with("k_proj.bias") && !name.ends_with("key.bias") && name != "final_logits_bias";
    const double allowed = has_gradient ? 1e-2 * moved + 0x1p-22 * size : 1e-4 * farthest;
    const double difference = largest_difference(values, other.at(name));
    INFO("differs by ", difference, ", allowed ", allowed, ", moved by ", moved);
    CHECK_FALSE(!(difference <= allowed));
    if (has_gradient) CHECK(moved > 20 * allowed);
  }
}

// Checks all that a training measured, but for speed, and its parameters.
void check_same_training(const fs::path& a, const fs::path& b, const fs::path& initial) {
  const std::vector<nlohmann::json> one = events(a), other = events(b);
  REQUIRE(one.size() == other.size());
  for (size_t i = 0; i < one.size(); ++i)
    for (const auto& [name, value] : one[i].items()) {
      if (name == "tokens_per_second" || name == "generating_share") continue;
      if (name == "seconds" || name == "memory_mib") continue;
      CAPTURE(name);
      if (!value.is_number_float()) CHECK(value == other[i].at(name));
      else CHECK(other[i].at(name).get<double>() == doctest::Approx(value.get<double>()).epsilon(1e-4));
    }
  check_same_parameters(initial, a, b);
}

}  // namespace

TEST_CASE("ranks: one rank has everything") {
  Communicator one;
  CHECK(one.rank() == 0);
  CHECK(one.size() == 1);
  CHECK(one.is_first());
  CHECK(one.share(7) == std::pair<int64_t, int64_t>(0, 7));
  SequenceBatch batch;
  batch.tokens = {1, 2, 3};
  batch.offsets = {0, 1, 3};
  CHECK(sequences_of_part(batch, 0, 1) == std::pair<int64_t, int64_t>(0, 2));
  std::vector<float> values{1, 2};
  one.sum(std::span(values));
  one.start_sum(values);
  one.wait();
  CHECK(values == std::vector<float>{1, 2});
  CHECK(one.gather(std::vector<std::string>{"a", ""}) == std::vector<std::string>{"a", ""});
}

TEST_CASE("ranks: a build without MPI refuses to be one of several") {
  if (has_mpi()) SKIP_TEST("this build has MPI");
  const Folder folder;
  CHECK(folder.train(0, "one", "; OMPI_COMM_WORLD_SIZE=2 " + program_path() + " info") != 0);
  CHECK(read_text(folder.out()).find("this build has no MPI") != std::string::npos);
}

TEST_CASE("ranks: several train as one does, generate their shares, and go on from its state") {
  if (const char* const why = why_no_ranks()) SKIP_TEST(why);
  const Folder folder;
  REQUIRE(folder.train(0, "one") == 0);
  REQUIRE(folder.train(0, "initial", no_step) == 0);
  CHECK(events(folder.path / "one").size() == 6);
  for (const int ranks : {2, 3}) {
    CAPTURE(ranks);
    const std::string name = "of_" + std::to_string(ranks);
    CHECK(folder.train(ranks, name) == 0);
    CAPTURE(read_text(folder.out()));
    check_same_training(folder.path / "one", folder.path / name, folder.path / "initial");
  }
  REQUIRE(folder.train(0, "mixed", "--training.max_steps 2") == 0);
  REQUIRE(folder.train(2, "mixed") == 0);
  check_same_training(folder.path / "one", folder.path / "mixed", folder.path / "initial");
}

TEST_CASE("ranks: those that the program starts itself train as one does") {
  const Folder folder;
  REQUIRE(folder.train(0, "one") == 0);
  REQUIRE(folder.train(0, "initial", no_step) == 0);
  for (const int ranks : {2, 3}) {
    CAPTURE(ranks);
    const std::string name = "of_" + std::to_string(ranks);
    CHECK(folder.train_alone(ranks, name) == 0);
    CAPTURE(read_text(folder.out()));
    check_same_training(folder.path / "one", folder.path / name, folder.path / "initial");
  }
}

TEST_CASE("ranks: several share the solutions and the trials by which a model changes its rows") {
  if (const char* const why = why_no_ranks()) SKIP_TEST(why);
  const Folder folder(blotching_config);
  REQUIRE(folder.train(0, "one") == 0);
  const auto file = [&](const char* run, const char* name) { return read_text(folder.path / run / name); };
  const std::string rows = file("one", "state/task/rows.txt");
  CHECK(std::count(rows.begin(), rows.end(), '\n') > 30);  // STaR has added some
  CHECK(folder.train(2, "of_2") == 0);
  CHECK(file("of_2", "state/task/rows.txt") == rows);
  for (const char* const name : {"star_samples.txt", "aug_samples.txt", "axe_samples.txt"})
    CHECK(file("of_2", name) == file("one", name));
}

TEST_CASE("ranks: a student's losses are logged of all ranks") {
  if (const char* const why = why_no_ranks()) SKIP_TEST(why);
  const Folder folder(student_config);
  const std::string vocabulary = (folder.path / "vocabulary").string();
  const std::string tokenize = program_path() + " tokenize --train wordpiece --input tests/data/walk.txt --output " +
                               vocabulary + " --vocab_size 200 > " + folder.out() + " 2>&1";
  REQUIRE(std::system(tokenize.c_str()) == 0);
  const std::string data = "--data.tokenizer " + vocabulary;
  REQUIRE(folder.train(0, "teacher", data + " --training.max_steps 1") == 0);
  const std::string taught = data + " --distillation.teacher " + (folder.path / "teacher").string();
  REQUIRE(folder.train(0, "one", taught) == 0);
  REQUIRE(folder.train(0, "initial", taught + no_step) == 0);
  CHECK(events(folder.path / "one").at(0).contains("soft_loss"));
  REQUIRE(folder.train(2, "of_2", taught) == 0);
  check_same_training(folder.path / "one", folder.path / "of_2", folder.path / "initial");
}

TEST_CASE("ranks: clipping of each gradient, averages and slow weights are those of one rank") {
  if (const char* const why = why_no_ranks()) SKIP_TEST(why);
  const Folder folder;
  const std::string options =
      "--training.max_tensor_norm 0.05 --training.swa_start 2 --training.swa_every 1 --training.lookahead_every 2";
  REQUIRE(folder.train(0, "one", options) == 0);
  REQUIRE(folder.train(0, "initial", no_step) == 0);
  REQUIRE(folder.train(2, "of_2", options) == 0);
  check_same_training(folder.path / "one", folder.path / "of_2", folder.path / "initial");
}

TEST_CASE("ranks: a model that writes its own examples has the same bits with virtual shards, divided or not") {
  if (const char* const why = why_no_ranks()) SKIP_TEST(why);
  const Folder folder;
  const std::string shards = "--training.reduction_shards 4 ", divided = shards + "--training.shard_optimizer true ";
  REQUIRE(folder.train(0, "one", shards) == 0);
  CHECK(folder.train(2, "whole", shards) == 0);
  CHECK(folder.train(2, "divided", divided) == 0);
  CHECK(folder.train(4, "four", divided + "--training.max_steps 2") == 0);
  CHECK(folder.train(2, "four", shards) == 0);  // goes on
  const auto file = [&](const char* run, const char* name) { return read_text(folder.path / run / name); };
  for (const char* const name : {"whole", "divided", "four"})
    for (const char* const part : {"last/model.safetensors", "state/tensors.safetensors"}) {
      CAPTURE(name);
      CHECK(file(name, part) == file("one", part));
    }
  // Three ranks have no virtual shards to share.
  REQUIRE(folder.train(0, "plain") == 0);
  REQUIRE(folder.train(0, "initial", no_step) == 0);
  CHECK(folder.train(3, "three", "--training.shard_optimizer true") == 0);
  check_same_training(folder.path / "plain", folder.path / "three", folder.path / "initial");
}

TEST_CASE("ranks: the first one's clock ends all after the same step") {
  if (const char* const why = why_no_ranks()) SKIP_TEST(why);
  const Folder folder;
  CHECK(folder.train(2, "timed", "--training.max_steps 1000000 --training.scheduler linear --training.log_every 1 "
                     "--training.eval_every 0 --training.save_every 0 --training.max_minutes 0.02") == 0);
  CHECK(read_text(folder.out()).find("ended by the clock at step ") != std::string::npos);
  const std::vector<nlohmann::json> log = events(folder.path / "timed");
  CHECK(log.back().at("split") == "eval");
  CHECK(log.back().at("step").get<int64_t>() < 1000000);
}

TEST_CASE("ranks: the error of one ends all") {
  if (const char* const why = why_no_ranks()) SKIP_TEST(why);
  const Folder folder;
  CHECK(folder.train(2, "wrong", "--training.batch_size none") != 0);
  // The message is of rank 0 or of rank 1, whichever was first.
  CHECK(read_text(folder.out()).find("training.batch_size") != std::string::npos);
  CHECK_FALSE(fs::exists(folder.path / "wrong"));
}

}  // namespace engine::test::test_ranks
