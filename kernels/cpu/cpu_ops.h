// The CPU backend. Every file in a folder named cpu is compiled once for each instruction set, in a namespace of its
// own (ENGINE_ISA: generic, avx2, avx512), and defines its family's methods of this class. backend.cc picks one when
// the program starts.
#pragma once

#include <memory>

#include "core/arena.h"
#include "kernels/ops.h"

namespace engine::ENGINE_ISA {

class CpuOps : public Ops {
 public:
  // `scratch` is the memory for scratch in bytes. 0 stands for all of the machine's.
  explicit CpuOps(size_t scratch = 0) : workspace_(host_memory(), scratch) {}
  Memory& memory() override { return host_memory(); }
  std::unique_ptr<Ops> another(int parts) override {
    return std::make_unique<CpuOps>(host_memory().capacity() / static_cast<size_t>(parts));
  }

  size_t packed_bytes(int64_t k, int64_t n, DType compute) override;
  ENGINE_OPERATIONS(ENGINE_OVERRIDE)

 private:
  // Scratch of one operation (packed operands, a chunk of logits, partial sums), taken inside an ArenaScope.
  Arena workspace_;
};

}  // namespace engine::ENGINE_ISA
