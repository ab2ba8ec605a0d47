#include "tests/operation.h"

#include "kernels/backend.h"

namespace engine::test {

void on_every_backend(const std::function<void(Bench&)>& test) {
  static const std::vector<std::string> instruction_sets = cpu_instruction_sets();
  static const std::vector<std::unique_ptr<Ops>> backends = [] {
    std::vector<std::unique_ptr<Ops>> made;
    for (const std::string& instruction_set : instruction_sets) made.push_back(make_cpu_ops(instruction_set));
    return made;
  }();
  for (size_t i = 0; i < backends.size(); ++i)
    for (DType compute : {DType::f32, DType::bf16}) {
      CAPTURE(instruction_sets[i]);
      CAPTURE(name_of(compute));
      Arena arena(backends[i]->memory(), size_t{1} << 32);
      Bench bench{*backends[i], arena, compute};
      test(bench);
    }
}

}  // namespace engine::test
