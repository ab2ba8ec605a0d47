#include "core/cuda/library.h"

#include <dlfcn.h>
#include <glob.h>

#include <cstdlib>

namespace engine::cuda {

namespace {

// Adds the files that match a pattern, in the order of their names.
void add_matches(const std::string& pattern, std::vector<std::string>& paths) {
  glob_t found{};
  if (glob(pattern.c_str(), 0, nullptr, &found) == 0)
    for (size_t i = 0; i < found.gl_pathc; ++i) paths.emplace_back(found.gl_pathv[i]);
  globfree(&found);
}

}  // namespace

std::vector<std::string> library_paths(const std::string& file, const std::string& package) {
  std::vector<std::string> paths{file};
  for (const char* const variable : {"CUDA_HOME", "CUDA_PATH"})
    if (const char* const home = std::getenv(variable)) paths.push_back(std::string(home) + "/lib64/" + file);
  paths.push_back("/usr/local/cuda/lib64/" + file);
  std::vector<std::string> prefixes;
  for (const char* const variable : {"VIRTUAL_ENV", "CONDA_PREFIX"})
    if (const char* const prefix = std::getenv(variable)) prefixes.emplace_back(prefix);
  if (const char* const home = std::getenv("HOME")) prefixes.push_back(std::string(home) + "/.local");
  for (const char* const prefix : {"/usr/local", "/usr"}) prefixes.emplace_back(prefix);
  for (const std::string& prefix : prefixes)
    add_matches(prefix + "/lib/python3*/*-packages/nvidia/" + package + "/lib/" + file, paths);
  return paths;
}

void* open_library(const std::string& file, const std::string& package) {
  for (const std::string& path : library_paths(file, package))
    if (void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
  return nullptr;
}

}  // namespace engine::cuda
