// Runs kernels one at a time on a device, for the simulated device's own tests.
#pragma once

#include <doctest/doctest.h>

#include <array>
#include <numeric>
#include <string>
#include <vector>

#include "core/arena.h"
#include "core/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "tests/cudasim/block.h"

namespace engine::test {

inline constexpr std::array every_order{cudasim::Order::forward, cudasim::Order::reverse, cudasim::Order::random};

inline std::vector<float> counted(size_t count) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), 0.0f);
  return values;
}

struct KernelRun {
  cuda::Device device;  // of this number
  Arena arena{device.memory(), size_t{64} << 20};

  explicit KernelRun(int gpu = 0) : device(gpu) { cudasim::set_order(cudasim::Order::forward); }
  ~KernelRun() { cudasim::unset_order(); }

  float* upload(const std::vector<float>& values) {
    const Tensor tensor = arena.make(DType::f32, {static_cast<int64_t>(values.size())});
    arena.memory().copy_in(tensor.data, values.data(), tensor.bytes());
    return tensor.as<float>();
  }
  float* fresh(size_t count) { return arena.make(DType::f32, {static_cast<int64_t>(count)}).as<float>(); }
  std::vector<float> values(const float* data, size_t count) {
    std::vector<float> host(count);
    arena.memory().copy_out(host.data(), data, count * sizeof(float));
    return host;
  }

  template <class Kernel, class... Arguments>
  void start(Kernel kernel, dim3 grid, unsigned threads, size_t shared, Arguments... arguments) {
    cuda::launch(kernel, grid, threads, shared, device.compute_stream(), arguments...);
  }
  // Runs a block and returns what it did wrong, empty if nothing.
  template <class Kernel, class... Arguments>
  std::string error(Kernel kernel, unsigned threads, size_t shared, Arguments... arguments) {
    try {
      start(kernel, dim3(1), threads, shared, arguments...);
      device.synchronize();
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
};

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace engine::test
