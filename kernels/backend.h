// The backends of this build and what the machine has.
#pragma once

#include <memory>
#include <string>

#include "kernels/ops.h"

namespace engine {

// The best of generic, avx2 and avx512 that this processor runs.
std::string cpu_instruction_set();
// A CPU backend for one of these, which the processor must have.
std::unique_ptr<Ops> make_cpu_ops(const std::string& instruction_set);

}  // namespace engine
