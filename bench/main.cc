// Runs the microbenchmarks of the operations. It takes Google Benchmark's flags, and --device=cpu|cuda,
// --attention=own|cudnn and --matmul=auto|own|cublaslt.
#include "bench/work.h"

namespace {

// Takes "--NAME=VALUE" out of the arguments, if it is there.
void take_flag(const std::string& name, std::string& value, int& argc, char** argv) {
  const std::string start = "--" + name + "=";
  char** const found =
      std::find_if(argv + 1, argv + argc, [&](const char* flag) { return std::string(flag).starts_with(start); });
  if (found == argv + argc) return;
  value = std::string(*found).substr(start.size());
  std::copy(found + 1, argv + argc, found);
  --argc;
}

}  // namespace

int main(int argc, char** argv) {
  take_flag("device", engine::bench::device(), argc, argv);
  take_flag("attention", engine::bench::device_options().attention, argc, argv);
  take_flag("matmul", engine::bench::device_options().matmul, argc, argv);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
}
