// What benchmarks of operations share: tensors of random numbers, a proof of the answer, and rates.
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "core/arena.h"
#include "core/random.h"
#include "kernels/ops.h"

namespace engine::bench {

struct Work {
  std::unique_ptr<Ops> ops = make_cpu_ops();
  Arena arena{ops->memory()};
  Random numbers{1, 0};

  Tensor random(DType dtype, Shape shape, float scale = 1) {
    const Tensor tensor = arena.make(dtype, shape);
    for (int64_t i = 0; i < tensor.count(); ++i) {
      // A sum of uniform numbers, near enough to normal and much cheaper.
      const float value = scale * 3.46f * (numbers.uniform() - 0.5f);
      if (dtype == DType::bf16)
        tensor.as<bf16>()[i] = bf16(value);
      else
        tensor.as<float>()[i] = value;
    }
    return tensor;
  }
  Tensor indices(int64_t count, int64_t rows) {
    const Tensor tensor = arena.make(DType::i32, {count});
    for (int64_t i = 0; i < count; ++i)
      tensor.as<int32_t>()[i] = static_cast<int32_t>(numbers.below(static_cast<uint32_t>(rows)));
    return tensor;
  }
};

inline std::vector<double> values(const Tensor& tensor) {
  std::vector<double> result;
  for (int64_t i = 0; i < tensor.count(); ++i)
    result.push_back(static_cast<double>(tensor.dtype == DType::bf16  ? static_cast<float>(tensor.as<bf16>()[i])
                                         : tensor.dtype == DType::i32 ? static_cast<float>(tensor.as<int32_t>()[i])
                                                                      : tensor.as<float>()[i]));
  return result;
}

// The answer before its time: the benchmark ends with an error where it is wrong. Returns whether it is right.
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
