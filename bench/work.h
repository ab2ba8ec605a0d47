// Benchmarks of operations share this: tensors of random numbers, a proof of the answer, and rates.
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "core/arena.h"
#include "core/random.h"
#include "kernels/backend/backend.h"
#include "kernels/ops.h"

namespace engine::bench {

// The backend that is timed, which --device names (bench/main.cc).
inline std::string& device() {
  static std::string name = "cpu";
  return name;
}
inline DeviceOptions& device_options() {
  static DeviceOptions options;
  return options;
}
inline Ops& backend() {
  static const std::unique_ptr<Ops> ops = make_ops(device(), device_options());
  return *ops;
}

struct Work {
  Ops* ops = &backend();
  Arena arena{ops->memory()};
  Random numbers{1, 0};

  // Makes a tensor whose elements next() gives one after the other.
  template <class Next>
  Tensor filled(DType dtype, Shape shape, const Next& next) {
    const Tensor tensor = arena.make(dtype, shape);
    std::vector<unsigned char> host(tensor.bytes());
    const Tensor staged{host.data(), dtype, shape};
    for (int64_t i = 0; i < tensor.count(); ++i) {
      if (dtype == DType::bf16) staged.as<bf16>()[i] = bf16(static_cast<float>(next()));
      else if (dtype == DType::i32) staged.as<int32_t>()[i] = static_cast<int32_t>(next());
      else staged.as<float>()[i] = static_cast<float>(next());
    }
    ops->memory().copy_in(tensor.data, host.data(), host.size());
    return tensor;
  }
  // Makes a tensor of uniform numbers of unit variance.
  Tensor random(DType dtype, Shape shape, float scale = 1) {
    return filled(dtype, shape, [&] { return scale * 3.46f * (numbers.uniform() - 0.5f); });
  }
  Tensor indices(int64_t count, int64_t rows) {
    return filled(DType::i32, {count}, [&] { return numbers.below(static_cast<uint32_t>(rows)); });
  }
  Tensor integers(const std::vector<int32_t>& values) {
    size_t i = 0;
    return filled(DType::i32, {static_cast<int64_t>(values.size())}, [&] { return values[i++]; });
  }
};

inline std::vector<double> values(const Tensor& tensor) {
  std::vector<unsigned char> host(tensor.bytes());
  backend().memory().copy_out(host.data(), tensor.data, host.size());
  const Tensor staged{host.data(), tensor.dtype, tensor.shape};
  std::vector<double> result;
  for (int64_t i = 0; i < tensor.count(); ++i)
    result.push_back(static_cast<double>(tensor.dtype == DType::bf16  ? static_cast<float>(staged.as<bf16>()[i])
                                         : tensor.dtype == DType::i32 ? static_cast<float>(staged.as<int32_t>()[i])
                                                                      : staged.as<float>()[i]));
  return result;
}

// Times `operation`. A device only queues it, so the benchmark waits for the device after every 16 of them.
template <class Operation>
void repeat(benchmark::State& state, const Operation& operation) {
  if (device() == "cpu") {
    for (auto _ : state) operation();
    return;
  }
  constexpr int at_once = 16;
  static Arena place(backend().memory(), 64);
  static const Tensor byte = place.make_zeros(DType::u8, {1});
  while (state.KeepRunningBatch(at_once)) {
    for (int i = 0; i < at_once; ++i) operation();
    unsigned char read = 0;
    backend().memory().copy_out(&read, byte.data, 1);
  }
}

// Checks the answer before its time is taken. The benchmark ends with an error where it is wrong. Returns whether it is
// right.
inline bool proven(benchmark::State& state, const Tensor& actual, const std::vector<double>& expected,
                   double tolerance) {
  double difference = 0, size = 1e-30;
  const std::vector<double> found = values(actual);
  for (size_t i = 0; i < expected.size(); ++i) {
    if (!(std::abs(found[i] - expected[i]) <= difference)) difference = std::abs(found[i] - expected[i]);
    size = std::max(size, std::abs(expected[i]));
  }
  if (difference <= tolerance * size) return true;
  state.SkipWithError("the answer is wrong");
  return false;
}

inline void rate(benchmark::State& state, const char* unit, double amount) {
  state.counters[unit] = benchmark::Counter(amount * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

inline DType dtype_of_flag(int64_t flag) { return flag ? DType::bf16 : DType::f32; }
inline double tolerance_of(DType dtype) { return dtype == DType::bf16 ? 1e-2 : 1e-5; }

}  // namespace engine::bench
