// The GPUs over which a sweep spreads its trainings.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace engine {

// Returns what CUDA_VISIBLE_DEVICES is for the trainings on each of `count` GPUs. `visible` is its value in the sweep's
// own environment, of whose devices the first are taken, or null: then they are numbers from 0 on. `here` is how many
// GPUs the program sees. A UsageError where they are fewer than `count`.
std::vector<std::string> gpus_of_sweep(int64_t count, const char* visible, int64_t here);

}  // namespace engine
