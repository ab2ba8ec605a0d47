// Attention by cuDNN (the simulated device's): the cases that it takes, those of our own kernels, and how few graphs
// there are.
#include <iostream>
#include <sstream>

#include "kernels/backend/backend.h"
#include "kernels/backend/cuda_backend.h"
#include "kernels/attention/cuda/cudnn_attention.h"
#include "tests/attention_problem.h"
#include "tests/cudasim/cudnn.h"
#include "tests/variable.h"

namespace engine::test::test_cudnn {

namespace {

// Holds a backend that uses cuDNN.
struct Asking {
  const std::unique_ptr<Ops> ops;
  Arena arena{ops->memory(), size_t{1} << 30};
  Bench bench{*ops, arena, DType::bf16};

  // Takes the version of the library, at first one that takes empty sequences.
  explicit Asking(const char* attention = "cudnn", const char* version = "92500") : ops(made(attention, version)) {}
  static std::unique_ptr<Ops> made(const char* attention, const char* version) {
    const Variable of_library("CUDASIM_CUDNN_VERSION", version);
    return cuda::make_cuda_ops({.attention = attention});
  }
};

// Returns how many of forward and backward were cuDNN's, in a case whose results are right.
int runs_of(Asking& asking, const AttentionCase& of) {
  const ArenaScope scope(asking.arena);
  const int before = cudasim::cudnn_counts().run;
  AttentionProblem(asking.bench, of).check();
  return cudasim::cudnn_counts().run - before;
}

// Collects the words on standard error while it lives.
class Heard {
 public:
  Heard() : before_(std::cerr.rdbuf(words_.rdbuf())) {}
  ~Heard() { std::cerr.rdbuf(before_); }
  int lines() const {
    const std::string text = words_.str();
    return static_cast<int>(std::count(text.begin(), text.end(), '\n'));
  }
  std::string text() const { return words_.str(); }

 private:
  std::ostringstream words_;
  std::streambuf* before_;
};

}  // namespace

TEST_CASE("cuDNN on a device: ragged sequences, empty ones among them, fewer than the graph has") {
  Asking asking;
  for (bool causal : {false, true}) {
    CHECK(runs_of(asking, {3, 32, {{0, 0}, {31, 31}, {32, 32}, {0, 0}, {33, 33}, {70, 70}, {1, 1}, {9, 9}, {2, 2}},
                           causal}) == 2);
    CHECK(runs_of(asking, {2, 64, {{65, 65}}, causal}) == 2);
  }
  asking.bench.compute = DType::f32;
  CHECK(runs_of(asking, {2, 32, {{20, 20}}}) == 0);
}

TEST_CASE("cuDNN on a device: what it does not take is done by our own kernels") {
  Asking asking;
  const Heard heard;
  CHECK(runs_of(asking, {2, 36, {{20, 20}}}) == 0);
  CHECK(runs_of(asking, {2, 24, {{20, 20}}}) == 0);
  CHECK(runs_of(asking, {2, 32, {{20, 21}}}) == 0);
  CHECK(runs_of(asking, {2, 32, {{20, 20}}, false, 0.2f}) == 0);
  CHECK(runs_of(asking, {2, 32, {{20, 20}}, false, 0, 1, 4}) == 0);
  CHECK(runs_of(asking, {1, 32, {{0, 0}}}) == 0);
  CHECK(heard.text() == "");  // as the option's help says
}

TEST_CASE("cuDNN on a device: a graph that it refuses is told once for each kind, and our own kernels do it") {
  const Variable refuses("CUDASIM_CUDNN", "refuses");
  Asking asking;
  const Heard heard;
  for (int length : {20, 100, 300}) CHECK(runs_of(asking, {2, 32, {{length, length}}, true}) == 0);
  CHECK(heard.lines() == 2);
  CHECK(heard.text().find("note: our own kernels do forward causal attention of 2 heads 32 wide, which cuDNN does not "
                          "take: attention: cuDNN: not supported") == 0);
  CHECK(runs_of(asking, {2, 32, {{20, 20}}, false}) == 0);
  CHECK(heard.lines() == 4);
}

TEST_CASE("cuDNN on a device: a graph that wants too much scratch is left to our own kernels") {
  const Variable large("CUDASIM_CUDNN", "large");
  Asking asking;
  const Heard heard;
  CHECK(runs_of(asking, {2, 32, {{20, 20}}}) == 0);
  CHECK(heard.text().find("1 sequences of up to 64 rows want 1024 MiB of scratch, more than 512") != std::string::npos);
}

TEST_CASE("cuDNN on a device: before 9.25 no sequence without rows is given to it") {
  Asking asking("cudnn", "91900");
  // Nine sequences, which are not rounded up to ten.
  CHECK(runs_of(asking, {1, 32, std::vector<AttentionLengths>(9, {5, 5})}) == 2);
  AttentionProblem problem(asking.bench, {1, 32, {{4, 4}, {0, 0}, {5, 5}}});
  problem.bench.ops.attention_forward(problem.forward);
  CHECK_THROWS_WITH_AS(problem.bench.values(problem.forward.y),
                       doctest::Contains("segment 1 has no rows, which cuDNN cannot take before 9.25"), Error);
}

TEST_CASE("cuDNN on a device: auto takes it where architecture and version make it the faster one") {
  using cuda::cudnn_is_expected_faster;
  for (const bool is_backward : {false, true}) {
    CHECK(!cudnn_is_expected_faster(80, 92500, is_backward));
    CHECK(!cudnn_is_expected_faster(89, 92500, is_backward));
    CHECK(!cudnn_is_expected_faster(90, 91900, is_backward));
    CHECK(cudnn_is_expected_faster(90, 92500, is_backward));
    CHECK(cudnn_is_expected_faster(120, 93000, is_backward));
  }
  const auto runs_by_auto = [](const char* version = "92500") {
    Asking asking("auto", version);
    return runs_of(asking, {2, 32, {{20, 20}}});
  };
  CHECK(runs_by_auto() == 2);
  {
    const Variable older("CUDASIM_CAPABILITY", "80");
    CHECK(runs_by_auto() == 0);
  }
  const Heard heard;
  CHECK(runs_by_auto("91900") == 0);
  CHECK(runs_by_auto("91900") == 0);
  CHECK(heard.lines() == 1);
  CHECK(heard.text().find("note: our own kernels do attention, since cuDNN is older than 9.25") == 0);
}

TEST_CASE("cuDNN on a device: batches of like numbers of sequences and lengths have one graph") {
  Asking asking;
  const int before = cudasim::cudnn_counts().built;
  for (int count : {9, 10})
    for (int length : {130, 150, 192}) {
      AttentionCase of{1, 32, std::vector<AttentionLengths>(static_cast<size_t>(count), {2, 2})};
      of.sequences[3] = {length, length};
      CHECK(runs_of(asking, of) == 2);
    }
  CHECK(cudasim::cudnn_counts().built - before == 2);  // forward, backward
}

TEST_CASE("cuDNN on a device: captured as a part of a step it gives the same bits") {
  Asking asking;
  AttentionProblem problem(asking.bench, {2, 32, {{20, 20}, {7, 7}, {33, 33}}, true});
  problem.check();
  const std::vector<double> y = problem.bench.values(problem.forward.y), dq = problem.values(problem.backward.dq);
  const int before = cudasim::cudnn_counts().built;
  for (int time = 0; time < 3; ++time) {  // first plain, then captured, then updated
    for (const Tensor& result : {problem.forward.y, problem.backward.dq.matrix})
      asking.arena.memory().zero(result.data, result.bytes());
    asking.ops->run_captured(7, [&] {
      asking.ops->attention_forward(problem.forward);
      asking.ops->attention_backward(problem.backward);
    });
    CHECK(problem.bench.values(problem.forward.y) == y);
    CHECK(problem.values(problem.backward.dq) == dq);
  }
  CHECK(cudasim::cudnn_counts().built == before);
}

TEST_CASE("cuDNN on a device: sequences that are not rows of the matrices are raised, and nothing of them touched") {
  Asking asking;
  for (const auto& [begin, end, longest] : {std::array{0, 21, 30}, {-1, 5, 30}, {7, 3, 30}, {0, 20, 10}}) {
    CAPTURE(begin);
    CAPTURE(end);
    AttentionProblem problem(asking.bench, {2, 32, {{4, 4}, {16, 16}}});
    const Segments wrong{asking.bench.integers({2}, {0, begin}), asking.bench.integers({2}, {4, end}), longest};
    problem.forward.queries = problem.forward.keys = problem.backward.queries = problem.backward.keys = wrong;
    const int before = cudasim::cudnn_counts().run;
    problem.bench.ops.attention_forward(problem.forward);
    CHECK_THROWS_WITH_AS(problem.bench.values(problem.forward.y),
                         doctest::Contains("attention: the last row of segment[1] is"), Error);
    const std::vector<double> y = problem.bench.values(problem.forward.y);
    CHECK(std::none_of(y.begin(), y.begin() + 4 * 64, [](double x) { return std::isnan(x); }));
    CHECK(std::all_of(y.begin() + 4 * 64, y.end(), [](double x) { return std::isnan(x); }));
    problem.bench.ops.attention_backward(problem.backward);
    CHECK_THROWS_AS(problem.values(problem.backward.dq), Error);
    CHECK(cudasim::cudnn_counts().run == before + 2);
  }
}

TEST_CASE("options of a device: what is not there, or not of this device, is refused with what would be right") {
  const auto error = [](const std::string& device, const DeviceOptions& options) -> std::string {
    try {
      make_ops(device, options);
    } catch (const UsageError& refused) {
      return refused.what();
    }
    return "";
  };
  CHECK(error("sim", {.attention = "cudnn", .matmul = "cublaslt"}) == "");
  CHECK(error("cpu", {.attention = "own", .matmul = "own"}) == "");
  CHECK(error("cpu", {.attention = "cudnn"}) ==
        "attention = \"cudnn\" needs device = \"cuda\", and this runs on the CPU: set attention = \"auto\"");
  CHECK(error("cpu", {.matmul = "cublaslt"}) ==
        "matmul = \"cublaslt\" needs device = \"cuda\", and this runs on the CPU: set matmul = \"auto\"");
  CHECK(error("sim", {.attention = "flash"}) == "attention = \"flash\" is not known: auto, own, cudnn");
  CHECK(error("sim", {.matmul = "mkl"}) == "matmul = \"mkl\" is not known: auto, own, cublaslt");
  const Variable none("CUDASIM_CUDNN", "none");
  CHECK(error("sim", {.attention = "cudnn"}) ==
        "attention = \"cudnn\", but libcudnn.so.9 cannot be loaded: set attention = \"own\"");
  CHECK(error("check", {.attention = "cudnn"}) != "");
}

}  // namespace engine::test::test_cudnn
