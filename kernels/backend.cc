// Picks the CPU backend for the processor that the program runs on.
#include "kernels/backend.h"

#include "core/error.h"

namespace engine {

namespace generic {
std::unique_ptr<Ops> make_ops();
}
#if defined(__x86_64__)
namespace avx2 {
std::unique_ptr<Ops> make_ops();
}
namespace avx512 {
std::unique_ptr<Ops> make_ops();
}
#endif

std::string cpu_instruction_set() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    return "avx512";
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2")) return "avx2";
#endif
  return "generic";
}

std::unique_ptr<Ops> make_cpu_ops(const std::string& instruction_set) {
#if defined(__x86_64__)
  if (instruction_set == "avx512") return avx512::make_ops();
  if (instruction_set == "avx2") return avx2::make_ops();
#endif
  if (instruction_set == "generic") return generic::make_ops();
  fail("no CPU backend for the instruction set ", instruction_set, ": generic, avx2 or avx512");
}

std::unique_ptr<Ops> make_cpu_ops() { return make_cpu_ops(cpu_instruction_set()); }

}  // namespace engine
