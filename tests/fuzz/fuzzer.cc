// The entry points of libFuzzer. FUZZ_TARGET chooses the parser.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/fuzz/targets.h"

namespace {

const engine::fuzz::Target& chosen() {
  const char* const name = std::getenv("FUZZ_TARGET");
  for (const engine::fuzz::Target& target : engine::fuzz::targets())
    if (name && std::strcmp(name, target.name) == 0) return target;
  std::fprintf(stderr, "FUZZ_TARGET should be one of:");
  for (const engine::fuzz::Target& target : engine::fuzz::targets()) std::fprintf(stderr, " %s", target.name);
  std::fprintf(stderr, "\n");
  std::exit(2);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const engine::fuzz::Target& target = chosen();
  engine::fuzz::run_target(target, {reinterpret_cast<const char*>(data), size});
  return 0;
}
