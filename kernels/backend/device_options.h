// What the backend of a GPU is told about its work: the options of these names (training/config.cc).
#pragma once

#include <string>

namespace engine {

struct DeviceOptions {
  std::string attention = "own";  // own, cudnn, or auto: cuDNN's where it is expected to be faster
  std::string matmul = "auto";    // auto: cuBLASLt where it is there; own, or cublaslt
  bool synchronous = false;       // the device is waited for after each start
};

}  // namespace engine
