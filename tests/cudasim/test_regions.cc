// The regions of memory that tools are told of are the tensors of an arena, no more and no less.
#include "core/cuda/regions.h"

#include <cstdlib>
#include <filesystem>

#include "tests/cudasim/kernel_run.h"
#include "tests/cudasim/nvtx.h"

namespace engine::test::test_regions {

namespace {

// NVTX asks once a process whether a tool listens, so that this runs in one of its own.
void check_regions() {
  cuda::Device device;
  Arena arena(device.memory(), size_t{64} << 20);
  const auto regions_are = [&](std::initializer_list<Tensor> tensors) {
    std::map<const char*, size_t> expected;
    for (const Tensor& tensor : tensors) expected[static_cast<const char*>(tensor.data)] = tensor.bytes();
    return cudasim::nvtx_regions() == expected;
  };
  const auto require_that = [](bool holds, const char* what) {
    if (!holds) throw Error(what);
  };
  const Tensor first = arena.make(DType::f32, {33});
  require_that(regions_are({first}), "one tensor");
  {
    const ArenaScope scope(arena);
    const Tensor second = arena.make(DType::bf16, {7}), third = arena.make(DType::u8, {int64_t{20} << 20});
    require_that(regions_are({first, second, third}), "three tensors, after the arena has grown");
  }
  const Tensor fourth = arena.make(DType::f32, {1000});
  require_that(regions_are({first, fourth}), "what was released is told");
}

}  // namespace

TEST_CASE("simulated device: tensors are told to tools that listen to NVTX") {
  if (std::getenv("CUDASIM_NVTX")) return check_regions();
  CHECK(cudasim::nvtx_regions().empty());
  const std::string program = std::filesystem::read_symlink("/proc/self/exe").string();
  CHECK(std::system(("CUDASIM_NVTX=1 '" + program + "' -tc='*listen to NVTX*' > /dev/null").c_str()) == 0);
}

}  // namespace engine::test::test_regions
