// A Readback of a CUDA device. Results go to pinned memory in the compute stream's order, and an event tells when they
// are there. So the device goes on with later work while the host waits for them.
#pragma once

#include <cuda_runtime.h>

#include "core/cuda/device.h"

namespace engine::cuda {

class DeviceReadback final : public Readback {
 public:
  DeviceReadback(Device& device, size_t bytes);
  ~DeviceReadback() override;
  DeviceReadback(const DeviceReadback&) = delete;
  DeviceReadback& operator=(const DeviceReadback&) = delete;

  void start(std::initializer_list<Piece> pieces) override;
  const char* wait() override;

 private:
  Device& device_;
  size_t bytes_;
  char* pinned_ = nullptr;  // whether a fault has been found, then the results
  cudaEvent_t arrived_ = nullptr;
  size_t operations_ = 0;   // started before the last start
};

}  // namespace engine::cuda
