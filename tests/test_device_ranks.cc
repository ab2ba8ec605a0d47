// Trainings by several ranks, each with a GPU of its own, be it real or simulated, are those of one rank.
#include <algorithm>

#include "kernels/backend/backend.h"
#include "tests/device_training.h"
#include "tests/operation.h"

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

}  // namespace engine::test::test_device_ranks
