// Libraries are looked for where pip puts them, too.
#include <algorithm>
#include <filesystem>
#include <fstream>

#include "core/cuda/library.h"
#include "tests/cudasim/kernel_run.h"
#include "tests/temporary.h"
#include "tests/variable.h"

namespace engine::test {

TEST_CASE("libraries of NVIDIA: the loader's search first, then the toolkit, then pip's packages of the environment") {
  const TemporaryFolder folder;
  const Variable environment("VIRTUAL_ENV", folder.path().c_str());
  const Variable toolkit("CUDA_HOME", "/opt/toolkit");
  const auto place = [&](const char* python) {
    return folder.path().string() + "/lib/" + python + "/site-packages/nvidia/cudnn/lib";
  };
  CHECK(cuda::library_paths("libcudnn.so.9", "cudnn").front() == "libcudnn.so.9");
  CHECK(cuda::library_paths("libcudnn.so.9", "cudnn")[1] == "/opt/toolkit/lib64/libcudnn.so.9");
  std::filesystem::create_directories(place("python3.11"));
  std::ofstream(place("python3.11") + "/libcudnn.so.9") << "no library";
  const std::vector<std::string> paths = cuda::library_paths("libcudnn.so.9", "cudnn");
  CHECK(std::find(paths.begin(), paths.end(), place("python3.11") + "/libcudnn.so.9") != paths.end());
  CHECK(cuda::open_library("libnone_of_this_name.so.1", "none") == nullptr);
}

}  // namespace engine::test
