// Lets tests look into the simulated device's cuBLASLt.
#pragma once

namespace cudasim {

// Returns how often this process asked for an algorithm.
int cublaslt_heuristics();

}  // namespace cudasim
