#include "commands/sweep_gpus.h"

#include <sstream>

#include "core/error.h"

namespace engine {

std::vector<std::string> gpus_of_sweep(int64_t count, const char* visible, int64_t here) {
  if (count > here)
    fail_usage("gpus is ", count, ", but this program sees ", here, visible ? " with CUDA_VISIBLE_DEVICES=" : " here",
               visible ? visible : "");
  std::vector<std::string> names;
  std::istringstream list(visible ? visible : "");
  for (int64_t i = 0; i < count; ++i) {
    std::string name = std::to_string(i);
    // The program sees no more GPUs than are named.
    if (visible) std::getline(list, name, ',');
    names.push_back(name);
  }
  return names;
}

}  // namespace engine
