#include "core/cuda/device.h"

#include <filesystem>

#include "core/cuda/memory.h"
#include "core/cuda/operation.h"
#include "core/error.h"

namespace engine::cuda {

namespace {

constexpr int oldest_capability = 80;
constexpr size_t least_memory = size_t{256} << 20;

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

// Returns words for a fault, those of the CPU backend.
const char* indices_of(FaultKind kind) {
  switch (kind) {
    case FaultKind::token: return "embedding_forward: tokens";
    case FaultKind::position: return "embedding_forward: positions";
    case FaultKind::type: return "embedding_forward: types";
    case FaultKind::token_gradient: return "embedding_backward: tokens";
    case FaultKind::position_gradient: return "embedding_backward: positions";
    case FaultKind::type_gradient: return "embedding_backward: types";
    case FaultKind::label: return "cross_entropy: labels";
    case FaultKind::gathered_row: return "gather_rows: index";
    case FaultKind::added_from: return "add_scaled_rows: x_index";
    case FaultKind::added_to: return "add_scaled_rows: y_index";
    case FaultKind::scaled_from: return "row_scale_backward: x_index";
    case FaultKind::scaled_to: return "row_scale_backward: dy_index";
    case FaultKind::scattered_row: return "scatter_rows: index";
    case FaultKind::ranked_token: return "rank: tokens";
    case FaultKind::rotary_position: return "rotary: positions";
    case FaultKind::segment: return "attention: the last row of segment";
    case FaultKind::mean_segment: return "segment_mean: the last row of segment";
    case FaultKind::loss_segment: return "segment_cross_entropy: the last row of segment";
    case FaultKind::soft_loss_segment: return "segment_soft_cross_entropy: the last row of segment";
    case FaultKind::mask_segment: return "span_mask_loss: the last row of segment";
    case FaultKind::lstm_segment: return "lstm: the last row of segment";
    case FaultKind::empty_segment:
    case FaultKind::logits:
    case FaultKind::none: break;
  }
  return "an operation: index";
}

// Ignores an error. Destructors go on, since the cause has been told before.
void ignore(cudaError_t) {}

// Returns whether the error is that of a kernel started before, which any later call may report.
bool is_of_kernel(cudaError_t code) {
  switch (code) {
    case cudaErrorECCUncorrectable:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure: return true;
    default: return false;
  }
}

std::string suspects(cudaError_t code) {
  const std::string started = is_of_kernel(code) ? started_operations() : "";
  if (started.empty()) return "";
  return "; it is one of the operations started since the device was last waited for: " + started +
         ". With --cuda.synchronous true the error names the one";
}

}  // namespace

void check(cudaError_t code, const char* what) {
  if (code == cudaSuccess) [[likely]]
    return;
  cudaDeviceProp properties{};
  int device = 0;
  const bool known =
      cudaGetDevice(&device) == cudaSuccess && cudaGetDeviceProperties(&properties, device) == cudaSuccess;
  const std::string words = cudaGetErrorString(code);
  ignore(cudaGetLastError());
  fail(what, ": ", words, " (", cudaGetErrorName(code), "), on ", known ? properties.name : "the GPU", suspects(code));
}

Presence find_device(int index) {
  int count = 0, driver = 0, runtime = 0;
  const cudaError_t code = cudaGetDeviceCount(&count);
  if (code != cudaSuccess) ignore(cudaGetLastError());
  ignore(cudaDriverGetVersion(&driver));
  ignore(cudaRuntimeGetVersion(&runtime));
  if (driver == 0) {
    const bool exists = std::filesystem::exists("/dev/nvidia0");
    return {exists, exists ? "there is a GPU, but no CUDA driver (libcuda.so.1): install NVIDIA's driver"
                           : "there is no GPU, or no CUDA driver for it"};
  }
  if (code == cudaErrorInsufficientDriver)
    return {true, "the CUDA driver is of version " + version_text(driver) + ", older than " + version_text(runtime) +
                      ", which this program was built with: update the driver"};
  if (code == cudaErrorNoDevice || (code == cudaSuccess && count == 0)) return {false, "there is no GPU"};
  if (code == cudaSuccess && index >= count)
    return {true, detail::joined("there is no GPU ", index, " among the ", count, " here")};
  cudaDeviceProp properties{};
  const cudaError_t second = code ? code : cudaGetDeviceProperties(&properties, index);
  if (second != cudaSuccess) {
    ignore(cudaGetLastError());
    return {true, std::string("the GPU cannot be used: ") + cudaGetErrorString(second)};
  }
  if (properties.major * 10 + properties.minor < oldest_capability)
    return {true, detail::joined(properties.name, " has compute capability ", properties.major, ".", properties.minor,
                                 "; this program needs 8.0 or newer")};
  return {true, ""};
}

int device_count() {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  ignore(cudaGetLastError());
  return 0;
}

std::string describe_device(int index) {
  cudaDeviceProp properties{};
  int driver = 0, runtime = 0;
  check(cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties");
  check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  check(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
  return detail::joined(properties.name, ", compute capability ", properties.major, ".", properties.minor, ", ",
                        properties.multiProcessorCount, " multiprocessors, ", properties.totalGlobalMem >> 20,
                        " MiB (driver ", version_text(driver), ", runtime ", version_text(runtime), ")");
}

Device::Device(int index) : index_(index) {
  if (const Presence found = find_device(index); !found.problem.empty()) fail(found.problem);
  check(cudaSetDevice(index), "cudaSetDevice");
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties");
  name_ = properties.name;
  identity_.assign(properties.uuid.bytes, sizeof properties.uuid.bytes);
  capability_ = properties.major * 10 + properties.minor;
  size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  require(free >= least_memory, name_, " has ", free >> 20, " of ", total >> 20, " MiB free, too little to work with (",
          least_memory >> 20, " MiB): end other programs that use it");
  check(cudaStreamCreateWithFlags(&compute_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  check(cudaStreamCreateWithFlags(&copy_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  void* word = nullptr;
  check(cudaHostAlloc(&word, sizeof(Fault), cudaHostAllocMapped), "cudaHostAlloc");
  fault_ = new (word) Fault{};
  check(cudaMalloc(&word, sizeof(int)), "cudaMalloc");
  is_claimed_ = static_cast<int*>(word);
  check(cudaMemsetAsync(is_claimed_, 0, sizeof(int), compute_), "cudaMemsetAsync");
  memory_ = std::make_unique<DeviceMemory>(*this, total);
}

Device::~Device() {
  memory_.reset();
  ignore(cudaFree(is_claimed_));
  ignore(cudaFreeHost(fault_));
  ignore(cudaStreamDestroy(copy_));
  ignore(cudaStreamDestroy(compute_));
}

Memory& Device::memory() { return *memory_; }

void Device::synchronize() {
  check(cudaStreamSynchronize(compute_), "waiting for the device");
  forget_started_operations();
  if (fault_->kind == 0) [[likely]]
    return;
  const Fault fault = *fault_;
  *fault_ = Fault{};
  check(cudaMemsetAsync(is_claimed_, 0, sizeof(int), compute_), "cudaMemsetAsync");
  const FaultKind kind = static_cast<FaultKind>(fault.kind);
  if (kind == FaultKind::logits)
    fail("sample: row ", fault.place, " of the logits holds a NaN, or its largest is not finite");
  if (kind == FaultKind::empty_segment)
    fail("attention: segment ", fault.place,
         " has no rows, which cuDNN cannot take before 9.25: set attention = \"own\"");
  if (kind == FaultKind::label)
    fail(indices_of(kind), "[", fault.place, "] is ", fault.value, ", neither in 0 ... ", fault.limit - 1, " nor -100");
  fail(indices_of(kind), "[", fault.place, "] is ", fault.value, ", not in 0 ... ",
       fault.limit - 1);
}

}  // namespace engine::cuda
