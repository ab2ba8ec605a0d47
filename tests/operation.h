// Operation tests share this: tensors of random numbers, and the backends and precisions to run on. Comparisons are in
// rounding.h, and test_comparison.cc shows what they refuse.
#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "core/arena.h"
#include "core/random.h"
#include "kernels/ops.h"
#include "tests/rounding.h"
#include "tests/skip.h"

namespace engine::test {

// The largest |actual - expected| relative to the largest |expected|. Infinite where anything is not finite.
inline double relative_difference(const std::vector<double>& actual, const std::vector<double>& expected) {
  if (actual.size() != expected.size()) return INFINITY;
  double difference = 0, size = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    if (!std::isfinite(actual[i]) || !std::isfinite(expected[i])) return INFINITY;
    difference = std::max(difference, std::abs(actual[i] - expected[i]));
    size = std::max(size, std::abs(expected[i]));
  }
  return size > 0 ? difference / size : difference;
}

// A test runs on a backend, with an arena on it and in a precision.
struct Bench {
  Ops& ops;
  Arena& arena;
  DType compute;  // precision of activations and products
  Random random{1234, 0};
  // A device beside the CPU reports bad indices when results are next read, and is slow where it is simulated.
  bool is_device = false;

  // Waits for all operations, and throws the error that a device found.
  void finish() {
    if (is_device) values(arena.make_zeros(DType::f32, {1}));
  }

  Tensor normal(DType dtype, Shape shape, double scale = 1, double mean = 0) {
    std::vector<double> values(static_cast<size_t>(shape.count()));
    for (double& value : values) value = mean + scale * static_cast<double>(random.normal());
    return from(dtype, shape, values);
  }
  Tensor integers(Shape shape, const std::vector<int>& values) {
    const Tensor tensor = arena.make(DType::i32, shape);
    arena.memory().copy_in(tensor.data, values.data(), tensor.bytes());
    return tensor;
  }
  Tensor from(DType dtype, Shape shape, const std::vector<double>& values) {
    const Tensor tensor = arena.make(dtype, shape);
    fill(tensor, values);
    return tensor;
  }
  void fill(const Tensor& tensor, const std::vector<double>& values) {
    if (tensor.dtype == DType::bf16) {
      std::vector<bf16> host;
      for (double value : values) host.emplace_back(static_cast<float>(value));
      arena.memory().copy_in(tensor.data, host.data(), tensor.bytes());
    } else {
      const std::vector<float> host(values.begin(), values.end());
      arena.memory().copy_in(tensor.data, host.data(), tensor.bytes());
    }
  }
  // Makes a tensor for a result. It holds NaN, so that an element that an operation leaves out shows.
  Tensor unset(DType dtype, Shape shape) {
    return from(dtype, shape, std::vector<double>(static_cast<size_t>(shape.count()), NAN));
  }
  Tensor zeros(Shape shape) { return arena.make_zeros(DType::f32, shape); }

  // Copies the values to the host, in double as references take them.
  std::vector<double> values(const Tensor& tensor) const {
    const size_t count = static_cast<size_t>(tensor.count());
    std::vector<double> result(count);
    if (tensor.dtype == DType::bf16) {
      std::vector<bf16> host(count);
      arena.memory().copy_out(host.data(), tensor.data, tensor.bytes());
      for (size_t i = 0; i < count; ++i) result[i] = static_cast<double>(static_cast<float>(host[i]));
    } else if (tensor.dtype == DType::i32) {
      std::vector<int32_t> host(count);
      arena.memory().copy_out(host.data(), tensor.data, tensor.bytes());
      for (size_t i = 0; i < count; ++i) result[i] = host[i];
    } else {
      std::vector<float> host(count);
      arena.memory().copy_out(host.data(), tensor.data, tensor.bytes());
      for (size_t i = 0; i < count; ++i) result[i] = static_cast<double>(host[i]);
    }
    return result;
  }
};

// Names the devices beside the CPU that this build has on this machine.
std::vector<std::string> other_devices();

// Leaves a test case that loops over them where there are none.
#define SKIP_WITHOUT_DEVICE() \
  if (::engine::test::other_devices().empty()) SKIP_TEST("there is no device beside the CPU")

// Runs a test once for every backend of this build and each of f32 and bf16.
void on_every_backend(const std::function<void(Bench&)>& test);

// CHECK_CLOSE(run.logits(batch), expected, tolerance) has a tolerance relative to the largest expected value. It is for
// results of whole models alone, whose error a golden run measured in that way. It cannot see small elements. Tests of
// operations use CHECK_ELEMENTS.
#define CHECK_CLOSE(actual, expected, tolerance)                                                        \
  do {                                                                                                  \
    const double difference_ = ::engine::test::relative_difference((actual), (expected));               \
    INFO(#actual, " differs by ", difference_, " of the largest value, allowed ", static_cast<double>(tolerance)); \
    CHECK_FALSE(!(difference_ <= (tolerance)));                                                         \
  } while (false)

}  // namespace engine::test
