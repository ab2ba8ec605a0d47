// Lets tests look into the simulated device's cuDNN.
#pragma once

namespace cudasim {

// Counts the graphs that were built, and run, in this process.
struct CudnnCounts {
  int built = 0, run = 0;
};
const CudnnCounts& cudnn_counts();

}  // namespace cudasim
