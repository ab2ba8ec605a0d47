#include "kernels/cpu/bf16_operations.h"

namespace engine::ENGINE_ISA {

const Bf16Unit& bf16_unit() {
  static constexpr Bf16Unit unit{bf16_packed_bytes, bf16_pack, bf16_matmul, bf16_attention_forward,
                                 bf16_attention_backward};
  return unit;
}

}  // namespace engine::ENGINE_ISA
