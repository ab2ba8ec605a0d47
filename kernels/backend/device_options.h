// The options of a GPU's backend. The options of the same names (training/config.cc) set them.
#pragma once

#include <string>

namespace engine {

struct DeviceOptions {
  std::string attention = "own";  // own, cudnn, or auto: cuDNN's where it is expected to be faster
  std::string matmul = "auto";    // auto: cuBLASLt where it is there; own, or cublaslt
  bool synchronous = false;       // the device is waited for after each start
  int gpu = 0;                    // number of the GPU, which follows from the rank
};

}  // namespace engine
