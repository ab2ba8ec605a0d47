// Sweeps: their files, points, table and importance, and a sweep that is killed and goes on.
#include <doctest/doctest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "commands/sweep_gpus.h"
#include "commands/sweep_results.h"
#include "tests/error_text.h"
#include "tests/program.h"
#include "tests/training_task.h"

namespace engine::test::test_sweep {

namespace {

namespace fs = std::filesystem;

struct SweepFile {
  TemporaryFolder folder{quick_place()};
  std::string task = (folder.path() / "task.cfg").string();

  explicit SweepFile(const std::string& training = "max_steps = 4\n") {
    write_file(task, small_scratchpad + "eval_quantity = 8\n[training]\nbatch_size = 8\nlog_every = 2\n" +
                         "eval_every = 2\nsave_every = 2\n" + training);
  }
  std::string write(const std::string& text) const {
    const fs::path file = folder.path() / "sweep.cfg";
    write_file(file, "task = \"" + task + "\"\nname = \"s\"\noutput_dir = \"" + folder.path().string() + "\"\n" + text);
    return file.string();
  }
  SweepPlan read(const std::string& text) const { return SweepPlan::read(write(text)); }
  std::string error(const std::string& text) const {
    return error_of([&] { read(text); });
  }
  SweepFolder sweep() const { return SweepFolder(folder.path() / "s"); }
};

SweepTrial trial(const std::string& name, const SweepPoint& options, double value) {
  SweepTrial trial;
  trial.name = name;
  trial.options = options;
  trial.values = {value};
  trial.state = "done";
  return trial;
}

}  // namespace

TEST_CASE("sweep: a grid has every combination of lists and ranges") {
  const SweepFile file;
  const SweepPlan plan = file.read("[set]\ntraining.batch_size = 4\n[options]\n"
                                   "training.learning_rate = { log_uniform = [1e-4, 1e-2], count = 3 }\n"
                                   "training.scheduler = [\"linear\", \"cosine\"]\n"
                                   "model.num_layers = { integers = [1, 2] }\n");
  CHECK(plan.set == SweepPoint{{"training.batch_size", "4"}});
  const std::vector<SweepPoint> points = plan.points();
  REQUIRE(points.size() == 12);
  CHECK(points[0] == SweepPoint{{"model.num_layers", "1"}, {"training.learning_rate", "0.0001"},
                                {"training.scheduler", "linear"}});
  CHECK(points[11] == SweepPoint{{"model.num_layers", "2"}, {"training.learning_rate", "0.01"},
                                 {"training.scheduler", "cosine"}});
  CHECK(points[2][1].second == "0.001");
}

TEST_CASE("sweep: random points lie in their ranges and are always the same") {
  const SweepFile file;
  const std::string text = "method = \"random\"\ntrials = 200\n[options]\n"
                           "training.learning_rate = { log_uniform = [1e-4, 1e-2] }\n"
                           "model.dropout = { uniform = [0.1, 0.3] }\nmodel.num_layers = { integers = [1, 3] }\n"
                           "training.scheduler = [\"linear\", \"cosine\"]\n";
  const std::vector<SweepPoint> points = file.read(text).points();
  CHECK(points == file.read(text).points());
  CHECK(points != file.read("seed = 2\n" + text).points());
  REQUIRE(points.size() == 200);
  int low = 0, layers[4] = {}, linear = 0;
  for (const SweepPoint& point : points) {
    const double dropout = std::stod(point[0].second), rate = std::stod(point[2].second);
    CHECK((dropout >= 0.1 && dropout <= 0.3));
    CHECK((rate >= 1e-4 && rate <= 1e-2));
    low += rate < 1e-3;
    ++layers[std::stoi(point[1].second)];
    linear += point[3].second == "linear";
  }
  // Each count is binomial; 6 standard deviations of 200 draws at a half are 42.
  CHECK(std::abs(low - 100) < 43);
  CHECK(std::abs(linear - 100) < 43);
  for (const int i : {1, 2, 3}) CHECK(std::abs(layers[i] - 67) < 41);
}

TEST_CASE("sweep: rungs of halving grow by the factor up to the last") {
  const SweepFile file;
  const SweepPlan plan = file.read("method = \"halving\"\nmin_steps = 10\nmax_steps = 100\nfactor = 3\n[options]\n"
                                   "model.dropout = [0.0, 0.1]\n");
  CHECK(plan.rungs() == std::vector<int64_t>{10, 30, 90, 100});
  CHECK(file.read("[options]\nmodel.dropout = [0.0]\n").rungs() == std::vector<int64_t>{0});
}

TEST_CASE("sweep: what is wrong in a file is told with its line and the nearest name") {
  const SweepFile file;  // three lines stand before these texts
  const auto holds = [&](const std::string& text, const std::vector<std::string>& parts) {
    const std::string error = file.error(text);
    CAPTURE(error);
    for (const std::string& part : parts) CHECK_MESSAGE(error.find(part) != std::string::npos, part);
  };
  holds("[options]\ntraining.learning_rat = [1]\n", {"sweep.cfg:5: ", "nearest is training.learning_rate"});
  holds("metod = \"grid\"\n", {"sweep.cfg:4: ", "no key metod", "nearest is method"});
  holds("method = \"gird\"\n", {"sweep.cfg:4: ", "grid, random or halving"});
  holds("[options]\ntraining.learning_rate = [1e-3, -1]\n", {"sweep.cfg:5: ", "at least 0"});
  holds("[options]\ntraining.scheduler = [\"linear\", \"sine\"]\n", {"sweep.cfg:5: ", "cosine"});
  holds("[options]\nmodel.dropout = { uniform = [0, 2], count = 2 }\n", {"sweep.cfg:5: ", "at most 1"});
  holds("[options]\nmodel.dropout = { uniform = [0, 0.5] }\n", {"needs count"});
  holds("[options]\nmodel.num_layers = { integers = [1.2, 1.8] }\n", {"sweep.cfg:5: ", "there is none"});
  holds("[options]\nmodel.num_layers = { integers = [1, 1e300] }\n", {"sweep.cfg:5: ", "beyond 2^53"});
  holds("[options]\nmodel.dropout = { unifrom = [0, 0.5] }\n", {"sweep.cfg:5: ", "a range has no unifrom"});
  holds("[options]\nmodel.dropout = { uniform = [0.5, 0.1], count = 2 }\n", {"lower one first"});
  holds("[options]\ntraining.learning_rate = { log_uniform = [0, 1], count = 2 }\n", {"above 0"});
  holds("[options]\nmodel.dropout = 0.1\n", {"stands in [set]"});
  holds("[options]\nmodel.dropout = []\n", {"a value or more"});
  holds("[options]\nname = [\"a\"]\n", {"sweep.cfg:5: ", "the sweep's own"});
  holds("[set]\nmodel.dropout = 0.1\n[options]\nmodel.dropout = [0.1]\n", {"sweep.cfg:7: ", "in [set], too"});
  holds("[set]\nmodel.dropout = 3\n[options]\nmodel.num_layers = [1]\n", {"sweep.cfg:5: "});
  holds("seeds = 3\n[options]\nmodel.num_layers = [1]\n", {"sweep.cfg:4: ", "a list of integers"});
  holds("", {"[options] is missing"});
  holds("method = \"halving\"\n[options]\nmodel.num_layers = [1]\n", {"needs max_steps"});
  holds("[options\n", {"sweep.cfg:4: "});
}

TEST_CASE("sweep: GPUs are those that the sweep itself sees, and as many trainings run at once") {
  CHECK(gpus_of_sweep(3, nullptr, 4) == std::vector<std::string>{"0", "1", "2"});
  CHECK(gpus_of_sweep(2, "5,GPU-8932f937,1", 3) == std::vector<std::string>{"5", "GPU-8932f937"});
  CHECK(error_of([] { gpus_of_sweep(3, nullptr, 1); }) == "gpus is 3, but this program sees 1 here");
  CHECK(error_of([] { gpus_of_sweep(2, "7", 1); }) == "gpus is 2, but this program sees 1 with CUDA_VISIBLE_DEVICES=7");
  const SweepFile file;
  const std::string options = "[options]\nmodel.num_layers = [1, 2]\n";
  CHECK(file.read(options).parallel == 1);
  CHECK(file.read("gpus = 2\n" + options).parallel == 2);
  CHECK(file.read("gpus = 2\nparallel = 6\n" + options).parallel == 6);
}

TEST_CASE("sweep: importance is the share of the variance that an option explains") {
  SweepResults results;
  for (int a = 0; a < 2; ++a)
    for (int b = 0; b < 3; ++b)
      results.trials.push_back(trial("t", {{"a", std::to_string(a)}, {"b", std::to_string(b)}}, 3.0 * a + 1.0 * b));
  // Values 0 1 2 3 4 5: the variance is 17.5, of which a explains 6 * 1.5^2 = 13.5 and b 2 + 2 = 4.
  const std::vector<Importance> all = importance_of(results);
  REQUIRE(all.size() == 2);
  CHECK(all[0].option == "a");
  CHECK(all[0].share == doctest::Approx(13.5 / 17.5));
  CHECK(all[1].share == doctest::Approx(4 / 17.5));
  CHECK(all[0].best == "0");
  results.more_is_better = true;
  CHECK(importance_of(results)[0].best == "1");
  results.trials.resize(2);
  CHECK(importance_of(results).empty());
}

TEST_CASE("sweep: an option with many numbers is compared by quarters") {
  SweepResults results;
  for (int i = 0; i < 8; ++i) results.trials.push_back(trial("t", {{"a", std::to_string(i)}}, i / 2));
  const std::vector<Importance> all = importance_of(results);
  CHECK(all[0].share == doctest::Approx(1));
  CHECK(all[0].values == 8);
  CHECK(all[0].best == "0 to 1");
}

TEST_CASE("sweep: a failed training is recorded, the others go on, and report shows the sweep") {
  const SweepFile file;
  const Program program;
  const std::string sweep = file.write("parallel = 2\nthreads = 1\n[options]\nmodel.num_heads = [2, 3, 4]\n");
  const Ended ended = program.run({"sweep", sweep});
  CAPTURE(ended.error);
  CHECK(ended.code == 0);
  CHECK(ended.out.find("trial_002  model.num_heads 3  FAILED: ") != std::string::npos);
  const std::string table = read_text(file.sweep().table());
  CHECK(table.find("| trial_001 | done | 2 | ") != std::string::npos);
  CHECK(table.find("| trial_002 | failed | 3 |  | 0 | 0 | ") != std::string::npos);
  CHECK(table.find("num_heads") != std::string::npos);
  CHECK(table.find("| trial_003 | done | 4 | ") != std::string::npos);
  // A second start trains nothing, and a failed one again only where that is asked for.
  const auto log_size = [&] { return fs::file_size(file.sweep().log("trial_002")); };
  const auto before = log_size();
  CHECK(program.run({"sweep", sweep}).code == 0);
  CHECK(log_size() == before);
  CHECK(read_text(file.sweep().table()) == table);
  CHECK(program.run({"sweep", sweep, "--retry"}).code == 0);
  CHECK(log_size() > before);
  const std::string page = program.file("page.html");
  CHECK(program.run({"report", file.sweep().path().string(), "--output", page}).code == 0);
  const std::string text = read_text(page);
  CHECK(text.find(R"("state":"failed")") != std::string::npos);
  CHECK(text.find(R"("name":"trial_003")") != std::string::npos);
  // Another plan does not go on in this folder.
  program.fails({"sweep", file.write("[options]\nmodel.num_heads = [2]\n")}, 2, "another name");
}

TEST_CASE("sweep: one that is killed again and again ends with the same table") {
  const std::string text = "parallel = 2\nthreads = 1\nseeds = [1, 2]\nmethod = \"halving\"\nmin_steps = 2\n"
                           "max_steps = 6\ntrials = 4\n[options]\n"
                           "training.learning_rate = { log_uniform = [1e-4, 1e-1] }\n";
  const SweepFile whole(""), killed("");
  const Program program;
  const double begin = steady_seconds();
  REQUIRE(program.run({"sweep", whole.write(text)}).code == 0);
  const double seconds = steady_seconds() - begin;
  const std::string table = read_text(whole.sweep().table());
  CHECK(table.find("dropped") != std::string::npos);
  CHECK(table.find("trial_001_seed_2") != std::string::npos);
  const std::string sweep = killed.write(text);
  int kills = 0;
  for (const double share : {0.3, 0.4, 0.5, 0.7}) {
    const Ended ended = program.shell("timeout -s KILL " + std::to_string(share * seconds) + " " + program.path() +
                                      " sweep " + sweep);
    kills += ended.code != 0;
  }
  CHECK(kills > 0);
  const Ended ended = program.run({"sweep", sweep});
  CAPTURE(ended.out);
  CHECK(ended.code == 0);
  CHECK(read_text(killed.sweep().table()) == table);
}

TEST_CASE("sweep: Ctrl-C ends its trainings, and the same command goes on") {
  const SweepFile file("max_steps = 100000\nmax_minutes = 1\n");
  const Program program;
  const std::string sweep = file.write("threads = 1\n[options]\nmodel.dropout = [0.0, 0.1]\n");
  const Ended ended = program.shell("timeout --foreground -s INT 2 " + program.path() + " sweep " + sweep);
  CAPTURE(ended.out);
  CAPTURE(ended.error);
  CHECK(ended.out.find("the same command goes on") != std::string::npos);
  CHECK(fs::exists(file.sweep().trial("trial_001") / "state"));
  CHECK(!fs::exists(file.sweep().trial("trial_002")));
}

}  // namespace engine::test::test_sweep
