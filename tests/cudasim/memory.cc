#include "tests/cudasim/memory.h"

#include <cuda.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "core/error.h"
#include "tests/cudasim/block.h"
#include "tests/cudasim/monitor.h"
#include "tests/cudasim/sanitizer.h"
#include "tests/cudasim/stream.h"

namespace cudasim {

namespace {

constexpr int poison_byte = 0xff;
constexpr size_t behind = 64;  // bytes of NaNs behind handed out memory
constexpr size_t page = 4096, granularity = size_t{64} << 10;

std::map<char*, size_t> reservations;  // addresses, without memory
std::map<char*, size_t> regions;       // memory
std::map<CUmemGenericAllocationHandle, size_t> allocations;
size_t used = 0;
int open_anywhere = 0;             // on all threads
thread_local int open_here = 0;
struct sigaction previous_action;

// --- errors that the processor finds ---------------------------------------------------------------------------------
void say_and_stop(const std::string& text) {
  const std::string line = "simulated device: " + text + "\n";
  if (write(STDERR_FILENO, line.data(), line.size()) < 0) _exit(71);
  _exit(70);
}

void on_fault(int number, siginfo_t* info, void* context) {
  char* const address = static_cast<char*>(info->si_addr);
  const auto inside = [address](const auto& all) {
    return std::any_of(all.begin(), all.end(),
                       [&](const auto& one) { return address >= one.first && address < one.first + one.second; });
  };
  if (is_running()) {
    if (stack_overflowed_at(address)) say_and_stop(running_thread() + ": its variables need more than the stack has");
    say_and_stop(engine::detail::joined(running_thread(), ": access outside of all memory, at ", info->si_addr));
  }
  if (inside(regions) || inside(reservations))
    say_and_stop(engine::detail::joined("the host touched device memory, at ", info->si_addr,
                                        ", outside of a copy or kernel"));
  if (previous_action.sa_flags & SA_SIGINFO) return previous_action.sa_sigaction(number, info, context);
  if (previous_action.sa_handler != SIG_DFL && previous_action.sa_handler != SIG_IGN)
    return previous_action.sa_handler(number);
  sigaction(SIGSEGV, &previous_action, nullptr);  // the access happens again with the earlier handler
}

// Installs the handler each time, since test frameworks put their own in for each test.
void catch_faults() {
  struct sigaction now{};
  sigaction(SIGSEGV, nullptr, &now);
  if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_fault) return;
  previous_action = now;
  stack_t stack{};
  static char handler_stack[size_t{64} << 10];
  if (sigaltstack(nullptr, &stack) == 0 && (stack.ss_flags & SS_DISABLE)) {
    stack = {.ss_sp = handler_stack, .ss_flags = 0, .ss_size = sizeof handler_stack};
    sigaltstack(&stack, nullptr);
  }
  struct sigaction ours{};
  ours.sa_sigaction = on_fault;
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaction(SIGSEGV, &ours, nullptr);
}

// Returns the processor's key to the device's memory, which opens and closes all of it at once. Returns -1 where it has
// none, and every region is opened and closed by itself.
int memory_key() {
  static const int key = pkey_alloc(0, PKEY_DISABLE_ACCESS);
  return key;
}

void set_open(bool open) {
  if (memory_key() >= 0) {
    pkey_set(memory_key(), open ? 0 : PKEY_DISABLE_ACCESS);
    return;
  }
  for (const auto& [data, bytes] : regions) mprotect(data, bytes, open ? PROT_READ | PROT_WRITE : PROT_NONE);
}

void add_region(char* data, size_t bytes) {
  catch_faults();
  mprotect(data, bytes, PROT_READ | PROT_WRITE);
  std::memset(data, poison_byte, bytes);
  regions[data] = bytes;
  if (memory_key() >= 0)
    pkey_mprotect(data, bytes, PROT_READ | PROT_WRITE, memory_key());
  else if (!open_anywhere)
    mprotect(data, bytes, PROT_NONE);
}

void remove_region(char* data) {
  const size_t bytes = regions.at(data);
  unpoison(data, bytes);
  regions.erase(data);
}

char* address_space(size_t bytes) {
  void* const data = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) return nullptr;
  madvise(data, bytes, MADV_HUGEPAGE);  // a region of huge pages is opened and closed in a hundredth of the time
  return static_cast<char*>(data);
}

}  // namespace

OpenMemory::OpenMemory() {
  const Inside inside;
  catch_faults();
  ++open_here;
  ++open_anywhere;
  // A key is a thread's own.
  if ((memory_key() >= 0 ? open_here : open_anywhere) == 1) set_open(true);
}
OpenMemory::~OpenMemory() {
  const Inside inside;
  --open_here;
  --open_anywhere;
  if ((memory_key() >= 0 ? open_here : open_anywhere) == 0) set_open(false);
}

size_t total_memory() {
  const char* const text = std::getenv("CUDASIM_MEMORY");
  return (text ? std::strtoull(text, nullptr, 10) : 4096) << 20;
}
size_t free_memory() { return total_memory() - std::min(total_memory(), used); }

bool is_device_memory(const void* data, size_t bytes) {
  const Inside inside;
  const char* begin = static_cast<const char*>(data);
  const char* const end = begin + bytes;
  while (begin < end) {  // through regions that follow one another
    auto after = regions.upper_bound(const_cast<char*>(begin));
    if (after == regions.begin()) return false;
    --after;
    if (begin >= after->first + after->second) return false;
    begin = after->first + after->second;
  }
  return true;
}

void hand_out(void* base, size_t from, size_t to, size_t mapped, cudaStream_t stream) {
  char* const data = static_cast<char*>(base);
  push(stream, {[=] {
         unpoison(data + from, std::min(to + behind, mapped) - from);
         std::memset(data + from, poison_byte, std::min(to + behind, mapped) - from);
         poison(data + to, mapped - to);
         return std::string();
       }});
}

}  // namespace cudasim

using namespace cudasim;

namespace {

// Returns whether the variable CUDASIM_DRIVER_REFUSES of the environment names this call.
bool is_refused(const char* call) {
  const char* const refused = std::getenv("CUDASIM_DRIVER_REFUSES");
  return refused && std::string(refused) == call;
}

template <class Mutate>
CUresult driver_call(const Mutate& mutate) {
  return mutate() ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult address_reserve(CUdeviceptr* address, size_t bytes, size_t, CUdeviceptr, unsigned long long) {
  const Inside inside;
  char* const data = bytes % granularity ? nullptr : address_space(bytes);
  if (!data) return CUDA_ERROR_INVALID_VALUE;
  reservations[data] = bytes;
  *address = reinterpret_cast<CUdeviceptr>(data);
  return CUDA_SUCCESS;
}
CUresult address_free(CUdeviceptr address, size_t bytes) {
  const Inside inside;
  char* const data = reinterpret_cast<char*>(address);
  return driver_call([&] { return reservations.erase(data) == 1 && munmap(data, bytes) == 0; });
}
CUresult create(CUmemGenericAllocationHandle* handle, size_t bytes, const CUmemAllocationProp*, unsigned long long) {
  const Inside inside;
  static CUmemGenericAllocationHandle next = 0;
  if (is_refused("cuMemCreate")) return CUDA_ERROR_NOT_PERMITTED;
  if (bytes % granularity) return CUDA_ERROR_INVALID_VALUE;
  if (bytes > free_memory()) return CUDA_ERROR_OUT_OF_MEMORY;
  used += bytes;
  allocations[*handle = ++next] = bytes;
  return CUDA_SUCCESS;
}
CUresult release(CUmemGenericAllocationHandle handle) {
  const Inside inside;
  return driver_call([&] {
    const auto found = allocations.find(handle);
    if (found == allocations.end()) return false;
    used -= found->second;
    allocations.erase(found);
    return true;
  });
}
CUresult map(CUdeviceptr, size_t bytes, size_t offset, CUmemGenericAllocationHandle handle, unsigned long long) {
  if (is_refused("cuMemMap")) return CUDA_ERROR_NOT_PERMITTED;
  return driver_call([&] { return offset == 0 && allocations.count(handle) && allocations[handle] == bytes; });
}
CUresult set_access(CUdeviceptr address, size_t bytes, const CUmemAccessDesc*, size_t) {
  const Inside inside;
  add_region(reinterpret_cast<char*>(address), bytes);
  return CUDA_SUCCESS;
}
CUresult unmap(CUdeviceptr address, size_t bytes) {
  const Inside inside;
  char* const data = reinterpret_cast<char*>(address);
  for (auto region = regions.lower_bound(data); region != regions.end() && region->first < data + bytes;)
    remove_region((region++)->first);
  if (memory_key() >= 0) pkey_mprotect(data, bytes, PROT_NONE, 0);
  mprotect(data, bytes, PROT_NONE);
  madvise(data, bytes, MADV_DONTNEED);
  return CUDA_SUCCESS;
}
CUresult error_name(CUresult code, const char** name) {
  *name = code == CUDA_ERROR_NOT_PERMITTED ? "CUDA_ERROR_NOT_PERMITTED" : "CUDA_ERROR_INVALID_VALUE";
  return CUDA_SUCCESS;
}
CUresult get_granularity(size_t* bytes, const CUmemAllocationProp*, CUmemAllocationGranularity_flags) {
  *bytes = granularity;
  return CUDA_SUCCESS;
}

}  // namespace

cudaError_t cudaGetDriverEntryPointByVersion(const char* symbol, void** function, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult* status) {
  static const std::map<std::string, void*> functions{
      {"cuMemAddressReserve", reinterpret_cast<void*>(address_reserve)},
      {"cuMemAddressFree", reinterpret_cast<void*>(address_free)},
      {"cuMemCreate", reinterpret_cast<void*>(create)},
      {"cuMemRelease", reinterpret_cast<void*>(release)},
      {"cuMemMap", reinterpret_cast<void*>(map)},
      {"cuMemUnmap", reinterpret_cast<void*>(unmap)},
      {"cuMemSetAccess", reinterpret_cast<void*>(set_access)},
      {"cuMemGetAllocationGranularity", reinterpret_cast<void*>(get_granularity)},
      {"cuGetErrorName", reinterpret_cast<void*>(error_name)},
  };
  const auto found = functions.find(symbol);
  *function = found == functions.end() ? nullptr : found->second;
  *status = *function ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** device, size_t bytes) {
  const Inside inside;
  if (is_capturing()) {
    invalidate_captures();
    return failed(cudaErrorStreamCaptureUnsupported, "cudaMalloc while a stream is being captured");
  }
  const size_t rounded = std::max(page, (bytes + page - 1) / page * page);
  char* const data = rounded > free_memory() ? nullptr : address_space(rounded);
  if (!data) return failed(cudaErrorMemoryAllocation);
  used += rounded;
  add_region(data, rounded);
  // No tensor has the bytes behind the last one.
  poison(data + bytes, rounded - bytes);
  *device = data;
  return cudaSuccess;
}

cudaError_t cudaFree(void* device) {
  const Inside inside;
  if (!device) return cudaSuccess;
  if (const cudaError_t code = cudaDeviceSynchronize()) return code;
  const auto region = regions.find(static_cast<char*>(device));
  if (region == regions.end()) return failed(cudaErrorInvalidValue);
  const size_t bytes = region->second;
  used -= bytes;
  remove_region(region->first);
  munmap(device, bytes);
  return cudaSuccess;
}

cudaError_t cudaHostAlloc(void** host, size_t bytes, unsigned) {
  *host = std::aligned_alloc(page, (bytes + page - 1) / page * page);
  return *host ? cudaSuccess : failed(cudaErrorMemoryAllocation);
}
cudaError_t cudaFreeHost(void* host) {
  std::free(host);
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *free = free_memory();
  *total = total_memory();
  return cudaSuccess;
}

// Returns what is wrong when the stream comes to a copy or fill, which it does then and not before. A stream that no
// other waits for may find its memory gone.
static std::string missing_memory(const char* call, const void* data, size_t bytes) {
  if (is_device_memory(data, bytes)) return "";
  return engine::detail::joined(call, " of ", bytes, " bytes: the memory was given back before the stream came to it");
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  const Inside inside;
  if (kind != cudaMemcpyDeviceToHost && !is_device_memory(to, bytes))
    return failed(cudaErrorInvalidValue, "cudaMemcpyAsync: the destination is not in device memory");
  if (kind != cudaMemcpyHostToDevice && !is_device_memory(from, bytes))
    return failed(cudaErrorInvalidValue, "cudaMemcpyAsync: the source is not in device memory");
  static const char copies = 0;
  return push(stream, {[=] {
                         std::string wrong;
                         if (kind != cudaMemcpyDeviceToHost) wrong = missing_memory("cudaMemcpyAsync", to, bytes);
                         if (kind != cudaMemcpyHostToDevice) wrong += missing_memory("cudaMemcpyAsync", from, bytes);
                         if (bytes && wrong.empty()) std::memcpy(to, from, bytes);
                         return wrong;
                       },
                       &copies});
}

cudaError_t cudaMemsetAsync(void* device, int value, size_t bytes, cudaStream_t stream) {
  const Inside inside;
  if (!is_device_memory(device, bytes))
    return failed(cudaErrorInvalidValue, "cudaMemsetAsync: the destination is not in device memory");
  static const char fills = 0;
  return push(stream, {[=] {
                         const std::string wrong = missing_memory("cudaMemsetAsync", device, bytes);
                         if (bytes && wrong.empty()) std::memset(device, value, bytes);
                         return wrong;
                       },
                       &fills});
}
