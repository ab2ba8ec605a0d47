// Several ranks, as mpirun starts them: the program trains as one rank would.
#include "core/communicator.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/files.h"
#include "core/safetensors.h"
#include "tests/program.h"
#include "tests/temporary.h"
#include "training/batch.h"

namespace engine::test {

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
learning_rate = 1e-3
scheduler = "constant"
log_every = 1
eval_every = 2
save_every = 2
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
learning_rate = 1e-3
scheduler = "constant"
log_every = 2
eval_every = 0
save_every = 0
)";

const std::string environment =
    "env OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_btl_vader_single_copy_mechanism=none "
    "ASAN_OPTIONS=detect_leaks=0 ";  // Open MPI leaves some memory behind
const std::string mpirun = "mpirun --oversubscribe --bind-to none -np ";

// Whether this machine lets mpirun start processes, which some containers do not.
bool ranks_can_start() {
  static const bool can = std::system((environment + mpirun + "2 true > /dev/null 2>&1 < /dev/null").c_str()) == 0;
  if (!can) MESSAGE("mpirun does not work here: several ranks are not tested");
  return can;
}

struct Folder {
  TemporaryFolder temporary;
  fs::path path = temporary.path();

  explicit Folder(const std::string& config = task_config) { write_file(path / "task.cfg", config); }
  // Trains with so many ranks (0: without mpirun) into a folder of this name; the exit code.
  int train(int ranks, const std::string& name, const std::string& more = "") const {
    const std::string start = ranks ? mpirun + std::to_string(ranks) + " " : "";
    const std::string command = environment + start + program_path() + " train " + (path / "task.cfg").string() +
                                " --output_dir " + path.string() + " --name " + name + " " + more + " > " + out() +
                                " 2>&1 < /dev/null";
    return std::system(command.c_str());
  }
  std::string out() const { return (path / "out").string(); }
};

std::vector<nlohmann::json> events(const fs::path& run) {
  std::istringstream log(read_text(run / "metrics.jsonl"));
  std::vector<nlohmann::json> lines;
  for (std::string line; std::getline(log, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

// All that a training measured, but for speed.
void check_same_training(const fs::path& a, const fs::path& b) {
  const std::vector<nlohmann::json> one = events(a), other = events(b);
  REQUIRE(one.size() == other.size());
  for (size_t i = 0; i < one.size(); ++i)
    for (const auto& [name, value] : one[i].items()) {
      if (name == "tokens_per_second" || name == "generating_share") continue;
      CAPTURE(name);
      if (!value.is_number_float()) CHECK(value == other[i].at(name));
      else CHECK(other[i].at(name).get<double>() == doctest::Approx(value.get<double>()).epsilon(1e-4));
    }
  const Safetensors first = Safetensors::open(a / "last" / "model.safetensors");
  const Safetensors second = Safetensors::open(b / "last" / "model.safetensors");
  for (const auto& [name, entry] : first.entries()) {
    CAPTURE(name);
    std::vector<float> x(static_cast<size_t>(entry.count())), y(x.size());
    REQUIRE(second.entries().at(name).bytes == x.size() * sizeof(float));
    std::memcpy(x.data(), entry.data, entry.bytes);
    std::memcpy(y.data(), second.entries().at(name).data, entry.bytes);
    // Adam's updates are of the size of the rate however small a gradient is, so that one near 0 may go either way.
    for (size_t k = 0; k < x.size(); ++k) REQUIRE(std::abs(x[k] - y[k]) < 4 * 1e-3f);
  }
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
  CHECK(sequences_of_rank(batch, one) == std::pair<int64_t, int64_t>(0, 2));
  std::vector<float> values{1, 2};
  one.sum(std::span(values));
  one.start_sum(values);
  one.wait();
  CHECK(values == std::vector<float>{1, 2});
  CHECK(one.gather(std::vector<std::string>{"a", ""}) == std::vector<std::string>{"a", ""});
}

TEST_CASE("ranks: several train as one does, generate their shares, and go on from its state") {
  const Folder folder;
  if (!has_mpi()) {
    CHECK(folder.train(0, "one", "; OMPI_COMM_WORLD_SIZE=2 " + program_path() + " info") != 0);
    CHECK(read_text(folder.out()).find("this build has no MPI") != std::string::npos);
    return;
  }
  if (!ranks_can_start()) return;
  REQUIRE(folder.train(0, "one") == 0);
  CHECK(events(folder.path / "one").size() == 6);
  for (const int ranks : {2, 3}) {
    CAPTURE(ranks);
    const std::string name = "of_" + std::to_string(ranks);
    CHECK(folder.train(ranks, name) == 0);
    CAPTURE(read_text(folder.out()));
    check_same_training(folder.path / "one", folder.path / name);
  }
  REQUIRE(folder.train(0, "mixed", "--training.max_steps 2") == 0);
  REQUIRE(folder.train(2, "mixed") == 0);
  check_same_training(folder.path / "one", folder.path / "mixed");
}

TEST_CASE("ranks: a student's losses are logged of all ranks") {
  if (!has_mpi() || !ranks_can_start()) return;
  const Folder folder(student_config);
  const std::string vocabulary = (folder.path / "vocabulary").string();
  const std::string tokenize = program_path() + " tokenize --train wordpiece --input tests/data/walk.txt --output " +
                               vocabulary + " --vocab_size 200 > " + folder.out() + " 2>&1";
  REQUIRE(std::system(tokenize.c_str()) == 0);
  const std::string data = "--data.tokenizer " + vocabulary;
  REQUIRE(folder.train(0, "teacher", data + " --training.max_steps 1") == 0);
  const std::string taught = data + " --distillation.teacher " + (folder.path / "teacher").string();
  REQUIRE(folder.train(0, "one", taught) == 0);
  CHECK(events(folder.path / "one").at(0).contains("soft_loss"));
  REQUIRE(folder.train(2, "of_2", taught) == 0);
  check_same_training(folder.path / "one", folder.path / "of_2");
}

TEST_CASE("ranks: the error of one ends all") {
  if (!has_mpi() || !ranks_can_start()) return;
  const Folder folder;
  CHECK(folder.train(2, "wrong", "--training.batch_size none") != 0);
  // Of rank 0 or of rank 1, whichever was first.
  CHECK(read_text(folder.out()).find("training.batch_size") != std::string::npos);
  CHECK_FALSE(fs::exists(folder.path / "wrong"));
}

}  // namespace engine::test
