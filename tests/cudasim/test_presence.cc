// Machines whose GPU cannot be used get one clear line each.
#include "core/cuda/presence.h"
#include "tests/cudasim/kernel_run.h"
#include "tests/variable.h"

namespace engine::test::test_presence {

namespace {

// Returns the error of making a device, empty where it can be made.
std::string device_error() {
  try {
    const cuda::Device device;
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("simulated device: a GPU that can be used has no problem, and is described") {
  CHECK(cuda::find_device().exists);
  CHECK(cuda::find_device().problem == "");
  CHECK(device_error() == "");
  CHECK(contains(cuda::describe_device(), "compute capability 9.0"));
}

TEST_CASE("simulated device: no GPU, an old one, an old driver, little memory: a line that says what is wrong") {
  {
    const Variable none("CUDASIM_DEVICES", "0");
    CHECK(!cuda::find_device().exists);
    CHECK(device_error() == "there is no GPU");
  }
  {
    const Variable old("CUDASIM_CAPABILITY", "75");
    CHECK(cuda::find_device().exists);
    CHECK(device_error() == "simulated device has compute capability 7.5; this program needs 8.0 or newer");
  }
  {
    const Variable old("CUDASIM_DRIVER", "12040");
    CHECK(device_error() == "the CUDA driver is of version 12.4, older than 13.0, which this program was built with: "
                            "update the driver");
  }
  const Variable little("CUDASIM_MEMORY", "100");
  CHECK(device_error() == "simulated device has 100 of 100 MiB free, too little to work with (256 MiB): end other "
                          "programs that use it");
}

TEST_CASE("simulated device: what does not fit is refused with what was asked for and what to lower") {
  const Variable little("CUDASIM_MEMORY", "300");
  cuda::Device device;
  Arena arena(device.memory());
  arena.make(DType::f32, {1000, 1000});
  std::string error;
  try {
    arena.make(DType::f32, {20000, 20000});
  } catch (const Error& refused) {
    error = refused.what();
  }
  CAPTURE(error);
  CHECK(contains(error, "out of memory"));
  CHECK(contains(error, "[20000, 20000] of f32 needs 1525 MiB"));
  CHECK(contains(error, "training.micro_batch_size"));
}

}  // namespace engine::test::test_presence
