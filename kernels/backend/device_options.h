// The options of a GPU's backend. The options of the same names (training/config.cc) set them.
#pragma once

#include <string>

namespace engine {

struct DeviceOptions {
  std::string attention = "own";  // own, or cudnn
  std::string matmul = "auto";    // auto (cuBLASLt where it is installed), own, or cublaslt
  bool synchronous = false;       // waits for the device after each start
};

}  // namespace engine
