// The CPU backend. Every file in a folder named cpu is compiled once for each width of vectors, in a namespace of its
// own (ENGINE_ISA: generic, avx2, avx512), and defines its family's methods of this class. backend.cc picks one when
// the program starts, and the Bf16Unit that goes with it.
#pragma once

#include <memory>

#include "core/arena.h"
#include "kernels/cpu/bf16_unit.h"
#include "kernels/ops.h"

namespace engine::ENGINE_ISA {

class CpuOps : public Ops {
 public:
  // `unit` takes products and attention in bf16, where there is one. `scratch` is the memory for scratch in bytes. 0
  // stands for all of the machine's.
  explicit CpuOps(const Bf16Unit* unit, size_t scratch = 0) : unit_(unit), workspace_(host_memory(), scratch) {}
  Memory& memory() override { return host_memory(); }
  std::unique_ptr<Ops> another(int parts) override {
    return std::make_unique<CpuOps>(unit_, host_memory().capacity() / static_cast<size_t>(parts));
  }

  size_t packed_bytes(int64_t k, int64_t n, DType compute) override;
  ENGINE_OPERATIONS(ENGINE_OVERRIDE)

 private:
  const Bf16Unit* const unit_;
  // Scratch of one operation (packed operands, a chunk of logits, partial sums), taken inside an ArenaScope.
  Arena workspace_;
};

}  // namespace engine::ENGINE_ISA
