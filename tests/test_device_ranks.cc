// Trainings by several ranks, each with a GPU of its own, be it real or simulated, are those of one rank.
#include <algorithm>
#include <set>
#include <sstream>

#include "kernels/backend/backend.h"
#include "tests/device_training.h"
#include "tests/operation.h"
#include "tests/program.h"

namespace engine::test::test_device_ranks {

namespace {

void check_ranks(const std::string& device) {
  const DeviceTraining training(device);
  training.trains("one", 1);
  const std::vector<double> expected = training.course("one");
  CHECK(training.losses("one").back() < training.losses("one").front() - 0.1);
  const int most = std::min(gpu_count(), 3);
  for (int ranks = 2; ranks <= most; ++ranks) {
    CAPTURE(ranks);
    const std::string name = "of_" + std::to_string(ranks);
    training.trains(name, ranks);
    check_same_course(training.course(name), expected);
    const std::string samples = "/samples/step_6.txt";
    CHECK(read_text(training.run(name) + samples) == read_text(training.run("one") + samples));
  }
  // A state goes on at another number of ranks.
  training.trains("mixed", most, {"--training.max_steps", "3"});
  training.trains("mixed", 2);
  check_same_course(training.course("mixed"), expected);
  const auto evaluated = [&](int ranks) {
    const std::string run = training.run("one");
    const Ended ended = training.program.run({"eval", run, "--device", device, "--ranks", std::to_string(ranks)});
    CHECK_MESSAGE(ended.code == 0, ended.error);
    return std::stod(ended.out.substr(ended.out.find("loss ") + 5));
  };
  CHECK(evaluated(2) == doctest::Approx(evaluated(1)).epsilon(1e-5));
}

}  // namespace

TEST_CASE("ranks on a device: losses, evaluations and samples of several are those of one, from any state") {
  SKIP_WITHOUT_DEVICE();
  if (gpu_count() < 2) SKIP_TEST("there is one GPU");
  for (const std::string& device : other_devices()) check_ranks(device);
}

TEST_CASE("ranks on a device: a table's gradient travels by the rows that a step names, tied or not") {
  SKIP_WITHOUT_DEVICE();
  if (gpu_count() < 2) SKIP_TEST("there is one GPU");
  for (const std::string& device : other_devices()) {
    const DeviceTraining training(device);
    for (const char* const untied : {"false", "true"})
      for (const char* const divided : {"false", "true"}) {
        CAPTURE(untied);
        CAPTURE(divided);
        const std::string name = std::string(untied) + divided;
        const std::vector<std::string> more{"--model.vocab_size", "200", "--model.untied_embeddings", untied,
                                            "--training.shard_optimizer", divided, "--training.eval_every", "0"};
        training.trains("one" + name, 1, more);
        training.trains("two" + name, 2, more);
        check_same_course(training.course("two" + name), training.course("one" + name));
      }
  }
}

TEST_CASE("sweep on devices: trainings at once have a device each, of those that the sweep sees") {
  if (other_devices() != std::vector<std::string>{"sim"}) SKIP_TEST("only the simulated device tells who uses it");
  const Program program("engine-sim");
  const std::string task = program.write(
      "task.cfg", small_scratchpad + "eval_quantity = 2\n[training]\nmax_steps = 1\nbatch_size = 2\n");
  const std::string sweep = program.write(
      "sweep.cfg", "task = \"" + task + "\"\nname = \"s\"\noutput_dir = \"" + program.file("") + "\"\ngpus = 2\n" +
                       "[set]\ndevice = \"sim\"\n[options]\nmodel.num_layers = [1, 2]\n");
  const std::string used = program.file("used");
  const auto run = [&](const std::string& variables) {
    return program.shell(variables + " CUDASIM_USED=" + used + " " + program.path() + " sweep " + sweep);
  };
  const Ended too_few = run("CUDASIM_DEVICES=1");
  CHECK(too_few.code == 2);
  CHECK(too_few.error.find("gpus is 2, but this program sees 1 here") != std::string::npos);
  const Ended ended = run("CUDASIM_DEVICES=4 CUDA_VISIBLE_DEVICES=3,1,0");
  CAPTURE(ended.out);
  CHECK(ended.code == 0);
  std::istringstream lines(read_text(used));
  std::set<std::string> devices;
  for (std::string line; std::getline(lines, line);) devices.insert(line);
  CHECK(devices == std::set<std::string>{"1", "3"});
}

}  // namespace engine::test::test_device_ranks
