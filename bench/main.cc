// Microbenchmarks of the operations: Google Benchmark's flags, and --device=cpu|cuda.
#include "bench/work.h"

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i)
    if (const std::string flag = argv[i]; flag.starts_with("--device=")) {
      engine::bench::device() = flag.substr(9);
      std::copy(argv + i + 1, argv + argc, argv + i);
      --argc;
    }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
}
