#include "tests/operation.h"

#include <cstdlib>

#include "kernels/backend/backend.h"

namespace engine::test {

namespace {

struct Backend {
  std::string name;
  std::unique_ptr<Ops> ops;
  bool is_device = false;
};

// Makes a CPU backend for every instruction set. The best one stands for all where there are other devices, and where
// ENGINE_TEST_BEST_SET is set. ENGINE_TEST_ATTENTION and ENGINE_TEST_MATMUL are options of these devices.
std::vector<Backend> make_backends() {
  std::vector<Backend> made;
  const std::vector<std::string> others = other_devices();
  const bool all_sets = others.empty() && !std::getenv("ENGINE_TEST_BEST_SET");
  for (const std::string& set : cpu_instruction_sets())
    if (all_sets || set == cpu_instruction_set()) made.push_back({set, make_cpu_ops(set)});
  DeviceOptions options;
  if (const char* const attention = std::getenv("ENGINE_TEST_ATTENTION")) options.attention = attention;
  if (const char* const matmul = std::getenv("ENGINE_TEST_MATMUL")) options.matmul = matmul;
  for (const std::string& device : others) made.push_back({device, make_ops(device, options), true});
  return made;
}

}  // namespace

std::vector<std::string> other_devices() {
  const std::vector<std::string> all = devices();
  return {all.begin() + 1, all.end()};
}

void on_every_backend(const std::function<void(Bench&)>& test) {
  static const std::vector<Backend> backends = make_backends();
  REQUIRE_FALSE(backends.empty());
  for (const Backend& backend : backends)
    for (DType compute : {DType::f32, DType::bf16}) {
      CAPTURE(backend.name);
      CAPTURE(std::string(name_of(compute)));
      Arena arena(backend.ops->memory(), size_t{1} << 32);
      Bench bench{*backend.ops, arena, compute};
      bench.is_device = backend.is_device;
      test(bench);
    }
}

}  // namespace engine::test
