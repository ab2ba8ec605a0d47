#include "tests/operation.h"

namespace engine::test {

void on_every_backend(const std::function<void(Bench&)>& test) {
  static const std::unique_ptr<Ops> cpu = make_cpu_ops();
  for (DType compute : {DType::f32, DType::bf16}) {
    CAPTURE(name_of(compute));
    Arena arena(cpu->memory(), size_t{1} << 32);
    Bench bench{*cpu, arena, compute};
    test(bench);
  }
}

}  // namespace engine::test
