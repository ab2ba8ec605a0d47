// Streams, events, graphs and launches of the simulated device. Work that nobody has waited for has not happened.
#include <cmath>

#include "tests/cudasim/kernel_run.h"
#include "tests/cudasim/stream.h"

namespace engine::test::test_streams {

namespace {

__global__ void fill_kernel(float* y, float value) { y[threadIdx.x] = value; }
__global__ void add_kernel(float* y, float value) { y[threadIdx.x] += value; }
__global__ void nothing_kernel() {}

constexpr unsigned count = 32;

// Holds two streams, memory of `count` floats, and pinned memory of as many.
struct Streams : KernelRun {
  cudaStream_t first = nullptr, second = nullptr;
  cudaEvent_t event = nullptr;
  float *data = fresh(count), *pinned = nullptr;

  Streams() {
    cudaStreamCreateWithFlags(&first, cudaStreamNonBlocking);
    cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking);
    cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
    void* host = nullptr;
    cudaHostAlloc(&host, count * sizeof(float), cudaHostAllocDefault);
    pinned = static_cast<float*>(host);
    device.synchronize();
  }
  ~Streams() {
    cudaGetLastError();
    cudaFreeHost(pinned);
    cudaEventDestroy(event);
    cudaStreamDestroy(second);
    cudaStreamDestroy(first);
  }
  void fill(cudaStream_t stream, float value) { cuda::launch(fill_kernel, 1, count, 0, stream, data, value); }
  void add(cudaStream_t stream, float value) { cuda::launch(add_kernel, 1, count, 0, stream, data, value); }
  float now() { return values(data, count)[0]; }
};

}  // namespace

TEST_CASE("simulated device: work is done when it is waited for, streams only in the order that events give them") {
  Streams s;
  s.fill(s.first, 1);
  CHECK(std::isnan(s.now()));  // the compute stream does not wait for the first
  REQUIRE(cudaStreamSynchronize(s.first) == cudaSuccess);
  CHECK(s.now() == 1);

  s.fill(s.first, 2);
  s.add(s.second, 10);  // does not wait for the fill
  REQUIRE(cudaStreamSynchronize(s.second) == cudaSuccess);
  REQUIRE(cudaStreamSynchronize(s.first) == cudaSuccess);
  CHECK(s.now() == 2);

  s.fill(s.first, 3);
  REQUIRE(cudaEventRecord(s.event, s.first) == cudaSuccess);
  s.add(s.first, 100);  // behind the event
  REQUIRE(cudaStreamWaitEvent(s.second, s.event) == cudaSuccess);
  s.add(s.second, 10);
  REQUIRE(cudaStreamSynchronize(s.second) == cudaSuccess);
  CHECK(s.now() == 13);
  REQUIRE(cudaStreamSynchronize(s.first) == cudaSuccess);
  CHECK(s.now() == 113);

  s.fill(s.first, 4);
  REQUIRE(cudaEventRecord(s.event, s.first) == cudaSuccess);
  s.add(s.first, 1);
  REQUIRE(cudaEventSynchronize(s.event) == cudaSuccess);
  CHECK(s.now() == 4);
}

TEST_CASE("simulated device: the time between events is had once both were reached, and only of events with times") {
  Streams s;
  cudaEvent_t first = nullptr, second = nullptr;
  for (cudaEvent_t* event : {&first, &second}) cudaEventCreateWithFlags(event, cudaEventDefault);
  float milliseconds = -1;
  CHECK(cudaEventElapsedTime(&milliseconds, first, second) == cudaErrorInvalidResourceHandle);  // never recorded
  cudaEventRecord(first, s.first);
  s.fill(s.first, 1);
  cudaEventRecord(second, s.first);
  cudaEventRecord(s.event, s.first);
  CHECK(cudaEventElapsedTime(&milliseconds, first, second) == cudaErrorNotReady);
  REQUIRE(cudaStreamSynchronize(s.first) == cudaSuccess);
  CHECK(cudaEventElapsedTime(&milliseconds, first, s.event) == cudaErrorInvalidResourceHandle);  // has no time
  REQUIRE(cudaEventElapsedTime(&milliseconds, first, second) == cudaSuccess);
  CHECK(milliseconds > 0);
  for (const cudaEvent_t event : {first, second}) cudaEventDestroy(event);
}

TEST_CASE("simulated device: copies read their source when their turn comes") {
  Streams s;
  std::fill_n(s.pinned, count, 1.0f);
  constexpr size_t bytes = count * sizeof(float);
  REQUIRE(cudaMemcpyAsync(s.data, s.pinned, bytes, cudaMemcpyHostToDevice, s.first) == cudaSuccess);
  std::fill_n(s.pinned, count, 2.0f);  // too early
  REQUIRE(cudaStreamSynchronize(s.first) == cudaSuccess);
  CHECK(s.now() == 2);
  CHECK(cudaMemcpyAsync(s.pinned, s.pinned, bytes, cudaMemcpyHostToDevice, s.first) == cudaErrorInvalidValue);
  CHECK(cudaMemcpyAsync(s.pinned, s.pinned, bytes, cudaMemcpyDeviceToHost, s.first) == cudaErrorInvalidValue);
  CHECK(cudaMemsetAsync(s.pinned, 0, bytes, s.first) == cudaErrorInvalidValue);
  CHECK(cudaPeekAtLastError() == cudaErrorInvalidValue);
  CHECK(cudaGetLastError() == cudaErrorInvalidValue);
  CHECK(cudaGetLastError() == cudaSuccess);
}

TEST_CASE("simulated device: a fill or copy whose memory is gone when its stream comes to it is a named error") {
  Streams s;
  for (const bool fills : {true, false}) {
    Arena* const arena = new Arena(s.device.memory(), size_t{1} << 20);
    const Tensor gone = arena->make(DType::f32, {count});
    s.device.synchronize();
    constexpr size_t bytes = count * sizeof(float);
    if (fills) REQUIRE(cudaMemsetAsync(gone.data, 0, bytes, s.second) == cudaSuccess);
    else REQUIRE(cudaMemcpyAsync(gone.data, s.pinned, bytes, cudaMemcpyHostToDevice, s.second) == cudaSuccess);
    delete arena;  // waits for the compute stream alone
    REQUIRE(cudaStreamSynchronize(s.second) == cudaErrorLaunchFailure);
    CHECK(contains(cudaGetErrorString(cudaErrorLaunchFailure),
                   std::string(fills ? "cudaMemsetAsync" : "cudaMemcpyAsync") + " of 128 bytes: the memory was given"));
    cudaGetLastError();
  }
}

TEST_CASE("simulated device: launches that no device takes are errors at once") {
  Streams s;
  const auto error = [&](unsigned threads, size_t shared, cudaStream_t stream) {
    cudaLaunchConfig_t config{};
    config.blockDim = dim3(threads);
    config.dynamicSmemBytes = shared;
    config.stream = stream;
    const cudaError_t code = cudaLaunchKernelEx(&config, nothing_kernel);
    return code;
  };
  CHECK(error(1024, 48 << 10, s.first) == cudaSuccess);
  CHECK(error(1025, 0, s.first) == cudaErrorInvalidConfiguration);
  CHECK(error(0, 0, s.first) == cudaErrorInvalidConfiguration);
  CHECK(error(32, 0, nullptr) == cudaErrorInvalidResourceHandle);
  CHECK(error(32, (48 << 10) + 1, s.first) == cudaErrorInvalidValue);
  const auto* const kernel = reinterpret_cast<const void*>(nothing_kernel);
  REQUIRE(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 227 << 10) == cudaSuccess);
  CHECK(error(32, 227 << 10, s.first) == cudaSuccess);
  CHECK(error(32, (227 << 10) + 1, s.first) == cudaErrorInvalidValue);
  CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (227 << 10) + 1) ==
        cudaErrorInvalidValue);
}

TEST_CASE("simulated device: a captured stream is run as a graph, with other numbers after an update") {
  Streams s;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  const auto capture = [&](float value, int times) {
    REQUIRE(cudaStreamBeginCapture(s.first, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
    s.fill(s.first, 1);
    for (int i = 0; i < times; ++i) s.add(s.first, value);
    REQUIRE(cudaStreamEndCapture(s.first, &graph) == cudaSuccess);
  };
  capture(10, 1);
  REQUIRE(cudaStreamSynchronize(s.first) == cudaSuccess);
  CHECK(std::isnan(s.now()));  // captured work does not run
  REQUIRE(cudaGraphInstantiate(&executable, graph) == cudaSuccess);
  cudaGraphDestroy(graph);
  const auto run = [&] {
    CHECK(cudaGraphLaunch(executable, s.first) == cudaSuccess);
    CHECK(cudaStreamSynchronize(s.first) == cudaSuccess);
    return s.now();
  };
  CHECK(run() == 11);
  CHECK(run() == 11);
  capture(20, 1);
  cudaGraphExecUpdateResultInfo info{};
  REQUIRE(cudaGraphExecUpdate(executable, graph, &info) == cudaSuccess);
  cudaGraphDestroy(graph);
  CHECK(run() == 21);
  capture(20, 2);
  CHECK(cudaGraphExecUpdate(executable, graph, &info) == cudaErrorGraphExecUpdateFailure);
  cudaGraphDestroy(graph);
  CHECK(run() == 21);
  cudaGraphExecDestroy(executable);
}

TEST_CASE("simulated device: what a capture does not allow is an error and spoils the capture") {
  Streams s;
  cudaGraph_t graph = nullptr;
  const auto spoiled_by = [&](const std::function<cudaError_t()>& call) {
    REQUIRE(cudaEventRecord(s.event, s.second) == cudaSuccess);
    REQUIRE(cudaStreamBeginCapture(s.first, cudaStreamCaptureModeGlobal) == cudaSuccess);
    s.fill(s.first, 1);
    const cudaError_t code = call();
    CHECK(cudaStreamEndCapture(s.first, &graph) == cudaErrorStreamCaptureInvalidated);
    CHECK(graph == nullptr);
    return code;
  };
  void* memory = nullptr;
  CHECK(spoiled_by([&] { return cudaStreamSynchronize(s.first); }) == cudaErrorStreamCaptureUnsupported);
  CHECK(spoiled_by([&] { return cudaDeviceSynchronize(); }) == cudaErrorStreamCaptureUnsupported);
  CHECK(spoiled_by([&] { return cudaEventSynchronize(s.event); }) == cudaErrorStreamCaptureUnsupported);
  CHECK(spoiled_by([&] { return cudaMalloc(&memory, 8); }) == cudaErrorStreamCaptureUnsupported);
  CHECK(spoiled_by([&] { return cudaStreamWaitEvent(s.first, s.event); }) == cudaErrorStreamCaptureIsolation);
  CHECK(cudaStreamEndCapture(s.first, &graph) == cudaErrorStreamCaptureUnmatched);
}

}  // namespace engine::test::test_streams
