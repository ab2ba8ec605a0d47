// Finds NVIDIA's libraries where the system, the toolkit and pip put them.
#pragma once

#include <string>
#include <vector>

namespace engine::cuda {

// Returns the paths to try for `file` (libcublasLt.so.13), best first: the loader's own search, the toolkit's folders
// (CUDA_HOME, CUDA_PATH, /usr/local/cuda), and the package of pip (cu13, cudnn, nccl) in the virtual environment,
// conda's, the user's and the system's folders of packages.
std::vector<std::string> library_paths(const std::string& file, const std::string& package);
// Loads the first of them that can be, until the program ends. Returns null where none can.
void* open_library(const std::string& file, const std::string& package);

}  // namespace engine::cuda
