// cuDNN takes the graphs of attention for every shape and mask that we use, without a device: it checks them, builds
// the operation graph, chooses plans, and supports them on devices that are described here. Only a device can test
// their results.
#include <dlfcn.h>
#include <doctest/doctest.h>

#include <string>

#include "kernels/attention/cuda/cudnn_graph.h"
#include "tests/skip.h"

namespace engine::test {

namespace {

// Describes a device in the form that cuDNN writes.
std::string device(int capability, int multiprocessors, int shared_memory, const char* name) {
  const auto number = [](int value) { return std::to_string(value); };
  return R"({"deviceVer":)" + number(capability * 10) + R"(,"driverVer":13000,"cudaDeviceId":0,)" +
         R"("maxGridSize":[2147483647,65535,65535],"maxBlockSize":[1024,1024,64],"regsPerBlock":65536,)" +
         R"("multiProcessorCount":)" + number(multiprocessors) + R"(,"warpSize":32,"maxSharedMemoryPerBlock":49152,)" +
         R"("maxSharedMemoryPerBlockOptin":)" + number(shared_memory) + R"(,"reservedSharedMemoryPerBlock":1024,)" +
         R"("maxRegistersPerSM":65536,"maxCtasPerSM":32,"maxThreadsPerBlock":1024,"maxThreadsPerSM":2048,)" +
         R"("pciDeviceId":0,"isTccDriver":0,"supportCoopLaunch":1,"smClockRateKHz":1700000,)" +
         R"("memClockRateKHz":2619000,"l2CacheSize":52428800,"totalGlobalMem":85000000000,"deviceName":")" + name +
         "\"}";
}

// cuDNN loads the driver's library before it says what it supports. The toolkit's stub serves where there is no driver.
bool is_loaded() {
  static const bool driver = dlopen("libcuda.so.1", RTLD_NOW) || dlopen(ENGINE_CUDA_STUB, RTLD_NOW);
  return cuda::why_no_cudnn().empty() && driver;
}
constexpr const char* why_not = "there is no cuDNN, or neither the driver's library nor the toolkit's stub of it";

cuda::CudnnAttentionShape shape(bool is_backward, bool causal, int64_t heads, int64_t width) {
  using namespace cuda;
  CudnnAttentionShape s{.is_backward = is_backward,
                        .causal = causal,
                        .sequences = 5,
                        .heads = heads,
                        .queries = 192,
                        .keys = 192,
                        .width = width,
                        .scale = 0.125f};
  const int64_t row = heads * width;
  for (CudnnTensor t : {cudnn_q, cudnn_k, cudnn_v, cudnn_dq, cudnn_dk, cudnn_dv}) s.row_strides[t] = 3 * row;
  s.row_strides[cudnn_y] = s.row_strides[cudnn_dy] = row;
  s.row_strides[cudnn_lse] = heads;
  return s;
}

}  // namespace

TEST_CASE("cuDNN: attention's graphs are built for every shape and mask") {
  if (!is_loaded()) SKIP_TEST(why_not);
  struct Described {
    int capability;
    std::string text;
    bool backward;
  };
  for (const Described& d : {Described{80, device(80, 108, 166912, "NVIDIA A100-SXM4-80GB"), false},
                             Described{90, device(90, 132, 232448, "NVIDIA H100 80GB HBM3"), true},
                             Described{100, device(100, 148, 232448, "NVIDIA B200"), true}})
    for (bool is_backward : {false, true})
      for (bool causal : {false, true})
        for (int64_t width : {32, 64, 72, 96, 128}) {
          CAPTURE(d.capability);
          CAPTURE(is_backward);
          CAPTURE(causal);
          CAPTURE(width);
          const auto build = [&] {
            cuda::CudnnAttentionGraph(shape(is_backward, causal, 3, width), nullptr, d.text, d.capability);
          };
          if (is_backward && !d.backward) CHECK_THROWS(build());  // no deterministic gradients of ragged rows there
          else CHECK_NOTHROW(build());
          if (is_backward) continue;
          for (int64_t heads : {1, 12, 16}) {  // evaluation and prefill keep no logarithms of sums
            cuda::CudnnAttentionShape kept_nothing = shape(false, causal, heads, width);
            kept_nothing.keeps_lse = false;
            CHECK_NOTHROW(cuda::CudnnAttentionGraph(kept_nothing, nullptr, d.text, d.capability));
          }
        }
}

TEST_CASE("cuDNN: a shape that it cannot have is an error that says why") {
  if (!is_loaded()) SKIP_TEST(why_not);
  const std::string text = device(90, 132, 232448, "NVIDIA H100 80GB HBM3");
  CHECK_THROWS_WITH(cuda::CudnnAttentionGraph(shape(false, true, 3, 36), nullptr, text, 90),
                    doctest::Contains("cuDNN"));
}

}  // namespace engine::test
