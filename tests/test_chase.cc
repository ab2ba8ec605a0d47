// Pointer chasing: problems, vocabulary, curriculum, and trainings of every arm.
#include "tasks/thought/chase.h"

#include <map>
#include <set>

#include "tasks/thought/chase_curriculum.h"
#include "tests/task_settings.h"

namespace engine::test::test_chase {

namespace {

using Split = ChaseProblems::Split;

// Reads a problem's tokens as the text that they are, and solves it.
struct Read {
  std::map<int, int> edges;
  int hops = 0, begin = 0;

  Read(const Tokenizer& tokenizer, const std::vector<int32_t>& prompt) {
    for (const int32_t token : prompt) {
      const std::string text = tokenizer.token(token);
      int from = 0, to = 0;
      if (std::sscanf(text.c_str(), "[%d>%d]", &from, &to) == 2) edges[from] = to;
      else if (std::sscanf(text.c_str(), "[hops=%d]", &from) == 1) hops = from;
      else begin = node_of(text);
    }
  }
  static int node_of(const std::string& text) {
    int node = -1;
    CHECK(std::sscanf(text.c_str(), "[%d]", &node) == 1);
    return node;
  }
  std::vector<int> steps() const {
    std::vector<int> all;
    for (int node = begin, i = 0; i < hops; ++i) all.push_back(node = edges.at(node));
    return all;
  }
};

const std::string tiny = R"(
task = "thought"
[model]
hidden_size = 32
num_layers = 1
num_heads = 2
max_positions = 16
[training]
batch_size = 16
max_steps = 6
log_every = 1
eval_every = 3
save_every = 3
scheduler = "constant"
warmup_steps = 2
[thought]
data = "chase"
nodes = 5
hops = 3
eval_problems = 8
)";

}  // namespace

TEST_CASE("chase: a problem is one cycle's edges in some order, the hops and a node; its steps follow the edges") {
  const auto tokenizer = make_chase_tokenizer(7, 9, "<|dense|>");
  const ChaseProblems problems(7, 9);
  CHECK(tokenizer->vocab_size() == 7 + 49 + 9 + 1);
  CHECK(tokenizer->token(problems.thought_token()) == "<|dense|>");
  Random random(3, 0);
  std::set<std::vector<int32_t>> orders;
  for (int i = 0; i < 200; ++i) {
    const int hops = 1 + i % 9;
    const ChaseProblem problem = problems.draw(random, hops, Split::training);
    REQUIRE(problem.prompt.size() == 9);
    const Read read(*tokenizer, problem.prompt);
    CHECK(read.hops == hops);
    CHECK(read.edges.size() == 7);
    // One cycle comes back after as many steps as there are nodes.
    int node = 0;
    std::set<int> seen;
    for (int step = 0; step < 7; ++step) seen.insert(node = read.edges.at(node));
    CHECK(seen.size() == 7);
    CHECK(node == 0);
    std::vector<int> steps;
    for (const int32_t step : problem.steps) steps.push_back(Read::node_of(tokenizer->token(step)));
    CHECK(steps == read.steps());
    CHECK(problem.answer() == problem.steps.back());
    orders.insert({problem.prompt.begin(), problem.prompt.begin() + 7});
  }
  CHECK(orders.size() > 190);
}

TEST_CASE("chase: no problem is trained on and evaluated, with whatever number of hops") {
  const ChaseProblems problems(4, 3);  // 6 cycles, 24 orders, 4 beginnings
  Random random(3, 0);
  const auto without_hops = [](ChaseProblem problem) {
    problem.prompt.erase(problem.prompt.end() - 2);
    return problem.prompt;
  };
  std::set<std::vector<int32_t>> trained, evaluated;
  for (int i = 0; i < 4000; ++i) {
    trained.insert(without_hops(problems.draw(random, 1 + i % 3, Split::training)));
    evaluated.insert(without_hops(problems.draw(random, 1 + i % 3, Split::evaluation)));
  }
  for (const auto& problem : evaluated) CHECK(trained.count(problem) == 0);
  CHECK(trained.size() + evaluated.size() > 560);  // of 576
  CHECK(trained.size() + evaluated.size() <= 576);
  CHECK(evaluated.size() > 15);
}

TEST_CASE("chase: the rows of the arms") {
  const auto tokenizer = make_chase_tokenizer(5, 4, "<|dense|>");
  const ChaseProblems problems(5, 4);
  Random random(3, 0);
  const ChaseProblem problem = problems.draw(random, 3, Split::training);
  const auto row = [&](ChaseArm arm) {
    SequenceBatch batch;
    problems.append(problem, arm, batch);
    problems.append(problem, arm, batch);
    CHECK(batch.sequences() == 2);
    const auto length = static_cast<size_t>(batch.offsets[1]);
    CHECK(batch.offsets[2] == 2 * batch.offsets[1]);
    batch.tokens.resize(length);
    batch.targets.labels.resize(length);
    return std::pair(batch.tokens, batch.targets.labels);
  };
  std::vector<int32_t> tokens = problem.prompt, labels(problem.prompt.size(), -100);
  labels.back() = problem.steps[2];
  CHECK(row(ChaseArm::none) == std::pair(tokens, labels));
  labels.back() = problem.steps[0];
  for (size_t i = 0; i < 2; ++i) {
    tokens.push_back(problem.steps[i]);
    labels.push_back(problem.steps[i + 1]);
  }
  CHECK(row(ChaseArm::written) == std::pair(tokens, labels));
  tokens = problem.prompt;
  labels.assign(problem.prompt.size() + 3, -100);
  labels.back() = problem.steps[2];
  tokens.resize(labels.size(), problems.thought_token());
  CHECK(row(ChaseArm::pause) == std::pair(tokens, labels));
  CHECK(chase_arm_of("none") == ChaseArm::none);
  CHECK(chase_arm_of("pause") == ChaseArm::pause);
  CHECK(chase_arm_of("written") == ChaseArm::written);
}

TEST_CASE("chase: the vocabulary is saved, loaded, and read from texts as it was") {
  const TemporaryFolder folder;
  const auto tokenizer = make_chase_tokenizer(12, 3, "<|dense|>");
  tokenizer->save(folder.path());
  const auto loaded = load_tokenizer(folder.path());
  CHECK(loaded->digest() == tokenizer->digest());
  const std::string text = "[0>1][11>2][1>11][hops=3][10]<|dense|>[2]";
  for (const Tokenizer* one : {tokenizer.get(), loaded.get()}) {
    const std::vector<int32_t> ids = one->encode(text);
    CHECK(ids == std::vector<int32_t>{12 + 1, 12 + 11 * 12 + 2, 12 + 12 + 11, 12 + 144 + 2, 10, 12 + 144 + 3, 2});
    CHECK(one->decode(ids) == text);
    CHECK(one->decode(ids, true) == "[0>1][11>2][1>11][hops=3][10][2]");
  }
  CHECK_THROWS_AS(tokenizer->encode("[12]"), Error);
}

TEST_CASE("chase: the curriculum goes on when a stage is learned or has lasted long") {
  ChaseCurriculum curriculum(4, true);
  Random random(1, 0);
  const auto shares = [&] {
    std::vector<int> counts(5);
    for (int i = 0; i < 4000; ++i) ++counts[static_cast<size_t>(curriculum.draw(random))];
    return counts;
  };
  CHECK(shares() == std::vector<int>{0, 4000, 0, 0, 0});
  // 1 - .95^45 is above .9.
  for (int step = 0; step < 44; ++step) curriculum.step_done(1);
  CHECK(curriculum.stage() == 1);
  curriculum.step_done(1);
  CHECK(curriculum.stage() == 2);
  CHECK(curriculum.accuracy() == 0);
  for (int step = 0; step < 299; ++step) curriculum.step_done(step % 2 ? 0.5 : -1);
  CHECK(curriculum.stage() == 2);
  const double accuracy = curriculum.accuracy();
  CHECK(std::abs(accuracy - 0.5) < 0.001);  // steps without a problem of the stage change nothing
  // Its state is all of it.
  ChaseCurriculum other(4, true);
  other.set_state(curriculum.state(), "here");
  CHECK(other.accuracy() == accuracy);
  other.step_done(0);
  CHECK(other.stage() == 3);
  curriculum.step_done(0);
  CHECK(curriculum.stage() == 3);
  const std::vector<int> third = shares();
  CHECK(std::abs(third[3] - 4000 * 2 / 3) < 150);
  CHECK(std::abs(third[1] - 4000 / 6) < 150);
  for (int step = 0; step < 300; ++step) curriculum.step_done(0);
  CHECK(curriculum.stage() == 4);
  const std::vector<int> last = shares();
  for (size_t hops = 1; hops <= 4; ++hops) CHECK(std::abs(last[hops] - 1000) < 150);
  for (int step = 0; step < 600; ++step) curriculum.step_done(1);
  CHECK(curriculum.stage() == 4);
  CHECK(ChaseCurriculum(4, false).stage() == 4);
  CHECK_THROWS_WITH_AS(other.set_state("{\"stage\": 5, \"steps\": 0, \"accuracy\": 0}", "the state"),
                       doctest::Contains("the state"), Error);
}

TEST_CASE("chase: a batch is a function of seed and step") {
  TaskSettings settings(tiny), same(tiny), other("seed = 2\n" + tiny);
  const auto task = settings.task(), again = same.task(), of_other_seed = other.task();
  SequenceBatch a, b;
  task->batch_of(5, a);
  CHECK(a.sequences() == 16);
  again->batch_of(0, b);
  again->batch_of(5, b);
  CHECK(a.tokens == b.tokens);
  CHECK(a.targets.labels == b.targets.labels);
  again->batch_of(4, b);
  CHECK(a.tokens != b.tokens);
  of_other_seed->batch_of(5, b);
  CHECK(a.tokens != b.tokens);
  CHECK(task->fingerprint() != of_other_seed->fingerprint());
}

TEST_CASE("chase: every arm trains, is evaluated alike when it is loaded, and goes on bit by bit") {
  for (const std::string arm : {"none", "pause", "written"}) {
    CAPTURE(arm);
    const std::string text = tiny + "arm = \"" + arm + "\"\n";
    TaskSettings whole(text);
    const auto task = whole.trained();
    std::string samples, samples_again;
    const Metrics metrics = task->evaluate(whole.machine, samples);
    for (const std::string& name : task->metric_names()) CHECK(std::isfinite(metric(metrics, name)));
    CHECK(metrics.size() == task->metric_names().size());
    CHECK(samples.find(" (it is [") != std::string::npos);
    const auto saved = std::filesystem::path(whole.config.output_dir) / "run/last";
    TaskSettings loaded(text);
    loaded.config.init = saved.string();
    CHECK(loaded.task(Use::evaluation)->evaluate(loaded.machine, samples_again) == metrics);
    CHECK(samples == samples_again);

    // A run that stops half way ends with the same weights, and with the same curriculum.
    TaskSettings half(text);
    half.config.training.max_steps = 3;
    half.trained();
    TaskSettings rest(text);
    rest.config.output_dir = half.config.output_dir;
    rest.trained();
    const auto file = [](const TaskSettings& settings, const char* name) {
      return read_text(std::filesystem::path(settings.config.output_dir) / "run" / name);
    };
    CHECK(file(rest, "last/model.safetensors") == file(whole, "last/model.safetensors"));
    CHECK(file(rest, "state/task/chase.json") == file(whole, "state/task/chase.json"));
  }
}

TEST_CASE("chase: a small model learns one hop, and its curriculum goes on to two") {
  TaskSettings settings(R"(
task = "thought"
[model]
hidden_size = 32
num_layers = 2
num_heads = 2
max_positions = 16
initializer_range = 0.1
[training]
batch_size = 32
max_steps = 330
learning_rate = 4e-3
scheduler = "constant"
warmup_steps = 20
adam_beta2 = 0.95
eval_every = 0
save_every = 0
[thought]
data = "chase"
nodes = 4
hops = 2
arm = "written"
eval_problems = 64
)");
  const auto task = settings.trained();
  std::string samples;
  const Metrics metrics = task->evaluate(settings.machine, samples);
  CHECK(metric(metrics, "accuracy_hops_1") > 0.9);  // chance is a quarter
  CHECK(metric(task->log(settings.machine), "stage") == 2);
}

TEST_CASE("chase: what cannot be is a usage error that names the option") {
  const auto refused = [](const std::string& text, const char* what) {
    CAPTURE(text);
    CHECK_THROWS_WITH_AS(TaskSettings(text).task(), doctest::Contains(what), UsageError);
  };
  TaskSettings with_files(tiny);
  with_files.config.data.train = {"a.txt"};
  CHECK_THROWS_WITH_AS(with_files.task(), doctest::Contains("makes its own problems"), UsageError);
  refused(tiny + "questions = \"a.jsonl\"\n", "thought.questions");
  refused(tiny + "context = 64\n", "thought.context");
  refused(tiny + "token = \"\"\n", "thought.token");
  TaskSettings shallow(tiny);
  shallow.config.model.max_positions = 9;
  CHECK_THROWS_WITH_AS(shallow.task(), doctest::Contains("model.max_positions is 9"), UsageError);
  TaskSettings trained(tiny), other(tiny);
  trained.trained();
  other.config.init = trained.config.output_dir + "/run";
  other.sections.thought.nodes = 6;
  CHECK_THROWS_WITH_AS(other.task(), doctest::Contains("thought.nodes = 6"), UsageError);
}

}  // namespace engine::test::test_chase
