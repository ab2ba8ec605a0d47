// Libraries are looked for where pip puts them, too.
#include <algorithm>
#include <filesystem>
#include <fstream>

#include "core/cuda/library.h"
#include "tests/cudasim/kernel_run.h"
#include "tests/program.h"
#include "tests/variable.h"

namespace engine::test::test_library {

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

TEST_CASE("libraries of NVIDIA: without cuBLASLt our own kernels train, and one note says so; a demand for it fails") {
  const Variable absent("CUDASIM_CUBLASLT", "absent");
  const Program program("engine-sim");
  const std::string config = program.write(
      "task.cfg", small_scratchpad + "[training]\nbatch_size = 1\nmax_steps = 1\neval_every = 0\n"
                                    "[generation]\nmax_new_tokens = 1\n");
  CHECK(program.run({"info"}).out.find("matrix products: our own kernels (libcublasLt cannot be loaded)") !=
        std::string::npos);
  const std::vector<std::string> train{"train", config, "--device", "sim", "--output_dir", program.file("runs"),
                                       "--scratchpad.eval_quantity", "1"};
  const Ended ended = program.run(train);
  CHECK_MESSAGE(ended.code == 0, ended.error);
  const std::string note = "note: our own kernels multiply matrices, since libcublasLt";
  const size_t at = ended.error.find(note);
  REQUIRE(at != std::string::npos);
  CHECK(ended.error.find(note, at + 1) == std::string::npos);
  std::vector<std::string> demanding = train;
  demanding.insert(demanding.end(), {"--cuda.matmul", "cublaslt"});
  program.fails(demanding, 2, "but libcublasLt cannot be loaded: install it, or set matmul = \"own\"");
}

}  // namespace engine::test::test_library
