// Holds the simulated device itself, launches, graphs, and the last error.
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <tuple>
#include <vector>

#include "tests/cudasim/block.h"
#include "tests/cudasim/memory.h"
#include "tests/cudasim/monitor.h"
#include "tests/cudasim/stream.h"
#include "tests/cudasim/symbols.h"

namespace {

constexpr int shared_without_asking = 48 << 10, most_shared = 227 << 10;

cudaError_t last_error = cudaSuccess;
int current_device = 0;
std::string last_failure;
std::map<const void*, int> allowed_shared;

// Returns the number in a variable of the environment, for tests of a device's properties.
int number_from(const char* variable, int otherwise) {
  const char* const text = std::getenv(variable);
  return text ? std::atoi(text) : otherwise;
}

}  // namespace

namespace cudasim {

cudaError_t failed(cudaError_t code, const std::string& what) {
  last_failure = what;
  return last_error = code;
}

namespace {

// Adds a line for every kernel, number of threads and dynamic shared memory, once each in this process, to the file
// that CUDASIM_LAUNCHES names, for bench/cuda_static.py.
void record_launch(const void* kernel, size_t threads, size_t shared) {
  static const char* const path = std::getenv("CUDASIM_LAUNCHES");
  if (!path) return;
  static std::ofstream file(path, std::ios::app);
  static std::set<std::tuple<const void*, size_t, size_t>> known;
  if (known.emplace(kernel, threads, shared).second)
    file << symbol_name(kernel) << '\t' << threads << '\t' << shared << std::endl;
}

}  // namespace

cudaError_t enqueue_kernel(const cudaLaunchConfig_t& config, const void* kernel, std::function<void()> thread) {
  const Inside inside;
  const dim3 block = config.blockDim, grid = config.gridDim;
  const size_t threads = size_t{block.x} * block.y * block.z;
  record_launch(kernel, threads, config.dynamicSmemBytes);
  if (threads == 0 || threads > 1024 || block.z > 64 || grid.x == 0 || grid.y == 0 || grid.z == 0 ||
      grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535)
    return failed(cudaErrorInvalidConfiguration);
  const auto allowed = allowed_shared.find(kernel);
  const int most = allowed == allowed_shared.end() ? shared_without_asking : allowed->second;
  if (config.dynamicSmemBytes > static_cast<size_t>(most))
    return failed(cudaErrorInvalidValue, symbol_name(kernel) + ": " + std::to_string(config.dynamicSmemBytes) +
                                             " bytes of shared memory, of " + std::to_string(most) +
                                             " that are allowed");
  return push(config.stream, {[launch = Launch{kernel, grid, block, config.dynamicSmemBytes, std::move(thread)}] {
                                return run_grid(launch);
                              },
                              kernel},
              1);
}

}  // namespace cudasim

using namespace cudasim;

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute, int value) {
  const Inside inside;
  if (value > most_shared) return failed(cudaErrorInvalidValue);
  allowed_shared[kernel] = value;
  return cudaSuccess;
}

cudaError_t cudaGetLastError() {
  const Inside inside;
  const cudaError_t code = last_error;
  last_error = cudaSuccess;
  return code;
}
cudaError_t cudaPeekAtLastError() { return last_error; }

#define ENGINE_NAMES(_)                                                                            \
  _(cudaSuccess, "no error")                                                                       \
  _(cudaErrorInvalidValue, "invalid argument")                                                     \
  _(cudaErrorMemoryAllocation, "out of memory")                                                    \
  _(cudaErrorInitializationError, "initialization error")                                          \
  _(cudaErrorInvalidConfiguration, "invalid configuration argument")                               \
  _(cudaErrorInsufficientDriver, "CUDA driver version is insufficient for CUDA runtime version")   \
  _(cudaErrorNoDevice, "no CUDA-capable device is detected")                                       \
  _(cudaErrorInvalidDevice, "invalid device ordinal")                                              \
  _(cudaErrorInvalidResourceHandle, "invalid resource handle")                                     \
  _(cudaErrorLaunchFailure, "unspecified launch failure")                                          \
  _(cudaErrorStreamCaptureUnsupported, "operation not permitted when stream is capturing")         \
  _(cudaErrorStreamCaptureInvalidated, "operation failed due to a previous error during capture")  \
  _(cudaErrorStreamCaptureUnmatched, "the stream is not being captured")                           \
  _(cudaErrorStreamCaptureIsolation, "dependency created on uncaptured work in another stream")    \
  _(cudaErrorGraphExecUpdateFailure, "the graph update was not performed")
const char* cudaGetErrorName(cudaError_t code) {
#define NAME(name, text) \
  if (code == name) return #name;
  ENGINE_NAMES(NAME)
#undef NAME
  return "cudaErrorUnknown";
}
const char* cudaGetErrorString(cudaError_t code) {
  if (code != cudaSuccess && !last_failure.empty()) return last_failure.c_str();
#define TEXT(name, text) \
  if (code == name) return text;
  ENGINE_NAMES(TEXT)
#undef TEXT
  return "unknown error";
}

namespace {

// Returns the numbers of the devices that the program sees, those of CUDA_VISIBLE_DEVICES up to the first that is none.
std::vector<int> visible_devices() {
  const int all = number_from("CUDASIM_DEVICES", 8);
  std::vector<int> devices;
  const char* const visible = std::getenv("CUDA_VISIBLE_DEVICES");
  std::istringstream list(visible ? visible : "");
  for (int device = 0; !visible && device < all; ++device) devices.push_back(device);
  for (std::string text; std::getline(list, text, ',');) {
    char* end = nullptr;
    const long device = std::strtol(text.c_str(), &end, 10);
    if (text.empty() || *end || device < 0 || device >= all) break;
    devices.push_back(static_cast<int>(device));
  }
  return devices;
}

// CUDASIM_USED names a file that gets the number of each device that a program chooses.
void note_use(int device) {
  if (const char* const file = std::getenv("CUDASIM_USED")) std::ofstream(file, std::ios::app) << device << '\n';
}

}  // namespace

cudaError_t cudaGetDeviceCount(int* count) {
  *count = static_cast<int>(visible_devices().size());
  if (*count == 0) return failed(cudaErrorNoDevice);
  int driver = 0, runtime = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  return driver < runtime ? failed(cudaErrorInsufficientDriver) : cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  const std::vector<int> visible = visible_devices();
  if (device < 0 || device >= static_cast<int>(visible.size())) return failed(cudaErrorInvalidDevice);
  note_use(visible[static_cast<size_t>(device)]);
  current_device = device;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = current_device;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = number_from("CUDASIM_DRIVER", 13000);
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  *properties = {};
  std::snprintf(properties->uuid.bytes, sizeof properties->uuid.bytes, "simulated %d", device);
  std::snprintf(properties->name, sizeof properties->name, "simulated device");
  const int capability = number_from("CUDASIM_CAPABILITY", 90);
  properties->major = capability / 10;
  properties->minor = capability % 10;
  properties->multiProcessorCount = 4;
  properties->totalGlobalMem = total_memory();
  properties->sharedMemPerBlockOptin = most_shared;
  return cudaSuccess;
}

// --- graphs ----------------------------------------------------------------------------------------------------------
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  const Inside inside;
  if (stream->capture) return failed(cudaErrorStreamCaptureUnsupported);
  stream->capture = std::make_unique<CUgraph_st>();
  ++host_counts().captures;
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const Inside inside;
  *graph = nullptr;
  if (!stream->capture) return failed(cudaErrorStreamCaptureUnmatched);
  std::unique_ptr<CUgraph_st> captured = std::move(stream->capture);
  if (captured->is_invalid) return failed(cudaErrorStreamCaptureInvalidated);
  *graph = captured.release();
  return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  const Inside inside;
  *status = stream->capture ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  *executable = new CUgraphExec_st{std::make_shared<const std::vector<Task>>(graph->tasks)};
  return cudaSuccess;
}

// Allows an update as long as the same kernels, copies and fills come in the same order.
cudaError_t cudaGraphExecUpdate(cudaGraphExec_t executable, cudaGraph_t graph, cudaGraphExecUpdateResultInfo* info) {
  const std::vector<Task>& before = *executable->tasks;
  bool same = before.size() == graph->tasks.size();
  for (size_t i = 0; same && i < before.size(); ++i) same = before[i].kernel == graph->tasks[i].kernel;
  info->result = same ? cudaGraphExecUpdateSuccess : cudaGraphExecUpdateError;
  if (!same) return failed(cudaErrorGraphExecUpdateFailure);
  executable->tasks = std::make_shared<const std::vector<Task>>(graph->tasks);
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  const Inside inside;
  if (stream->capture) return failed(cudaErrorStreamCaptureUnsupported, "a graph is launched inside a capture");
  ++host_counts().launches;
  const auto kernels = static_cast<size_t>(std::count_if(executable->tasks->begin(), executable->tasks->end(),
                                                         [](const Task& task) { return task.kernel != nullptr; }));
  return push(stream, {[tasks = executable->tasks] {
                for (const Task& task : *tasks)
                  if (std::string error = task.run(); !error.empty()) return error;
                return std::string();
              }},
              kernels);
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}
