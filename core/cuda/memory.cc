#include "core/cuda/memory.h"

#include <algorithm>
#include <cstring>

#include "core/cuda/operation.h"
#include "core/cuda/readback.h"
#include "core/cuda/recording.h"
#include "core/shortage.h"
#ifdef ENGINE_SIM
#include <cudasim_memory.h>
#endif

namespace engine::cuda {

namespace {

constexpr size_t slot_bytes = size_t{2} << 20;
constexpr size_t granules_at_once = 32;  // granules of 2 MiB

size_t round_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

// Returns a driver's function for virtual memory through the runtime, so that the program starts without a driver, too.
template <class Function>
Function* driver_function(const char* name) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
  check(cudaGetDriverEntryPointByVersion(name, &function, 12000, cudaEnableDefault, &found), name);
  require(found == cudaDriverEntryPointSuccess && function, "the CUDA driver has no ", name, ": update the driver");
  return reinterpret_cast<Function*>(function);
}

struct Driver {
  CUresult (*address_reserve)(CUdeviceptr*, size_t, size_t, CUdeviceptr, unsigned long long);
  CUresult (*address_free)(CUdeviceptr, size_t);
  CUresult (*create)(CUmemGenericAllocationHandle*, size_t, const CUmemAllocationProp*, unsigned long long);
  CUresult (*release)(CUmemGenericAllocationHandle);
  CUresult (*map)(CUdeviceptr, size_t, size_t, CUmemGenericAllocationHandle, unsigned long long);
  CUresult (*unmap)(CUdeviceptr, size_t);
  CUresult (*set_access)(CUdeviceptr, size_t, const CUmemAccessDesc*, size_t);
  CUresult (*granularity)(size_t*, const CUmemAllocationProp*, CUmemAllocationGranularity_flags);
  CUresult (*error_name)(CUresult, const char**);
};

const Driver& driver() {
  static const Driver functions = [] {
    Driver d{};
    const auto find = [](auto& function, const char* name) {
      function = driver_function<std::remove_pointer_t<std::remove_reference_t<decltype(function)>>>(name);
    };
    find(d.address_reserve, "cuMemAddressReserve");
    find(d.address_free, "cuMemAddressFree");
    find(d.create, "cuMemCreate");
    find(d.release, "cuMemRelease");
    find(d.map, "cuMemMap");
    find(d.unmap, "cuMemUnmap");
    find(d.set_access, "cuMemSetAccess");
    find(d.granularity, "cuMemGetAllocationGranularity");
    find(d.error_name, "cuGetErrorName");
    return d;
  }();
  return functions;
}

CUmemAllocationProp properties_on(const Device& device) {
  CUmemAllocationProp wanted{};
  wanted.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  wanted.location = {CU_MEM_LOCATION_TYPE_DEVICE, device.index()};
  return wanted;
}

CUdeviceptr address_of(void* data) { return reinterpret_cast<CUdeviceptr>(data); }

std::string place_of(const Device& device) {
  const std::string operation = running_operation();
  return "on " + device.name() + (operation.empty() ? "" : ", for " + operation);
}

void check_driver(CUresult code, const char* call, size_t bytes, const Device& device) {
  if (code == CUDA_SUCCESS) return;
  const char* name = nullptr;
  driver().error_name(code, &name);
  fail(call, " of ", bytes, " bytes: ", name ? name : "an error", " (", static_cast<int>(code), "), ",
       place_of(device));
}

}  // namespace

DeviceMemory::DeviceMemory(Device& device, size_t capacity) : device_(device), capacity_(capacity) {
  const CUmemAllocationProp wanted = properties_on(device);
  check_driver(driver().granularity(&granularity_, &wanted, CU_MEM_ALLOC_GRANULARITY_MINIMUM),
               "cuMemGetAllocationGranularity", capacity, device);
}

DeviceMemory::~DeviceMemory() {
  while (!reservations_.empty()) release(reservations_.begin()->first, 0);
  for (Slot& slot : ring_) {
    if (!slot.pinned) continue;
    cudaFreeHost(slot.pinned);
    cudaFree(slot.landing);
    if (slot.landed) cudaEventDestroy(slot.landed);
    if (slot.done) cudaEventDestroy(slot.done);
  }
}

void* DeviceMemory::reserve(size_t bytes) {
  const size_t size = round_up(std::max<size_t>(bytes, 1), granularity_);
  CUdeviceptr address = 0;
  check_driver(driver().address_reserve(&address, size, 0, 0, 0), "cuMemAddressReserve", size, device_);
  void* const data = reinterpret_cast<void*>(address);
  reservations_[data].bytes = size;
  return data;
}

void DeviceMemory::release(void* data, size_t) {
  const auto found = reservations_.find(data);
  if (found == reservations_.end()) return;
  // Destructors call this, and earlier errors have been told.
  cudaStreamSynchronize(device_.compute_stream());
  const Reservation& reservation = found->second;
  if (reservation.mapped) driver().unmap(address_of(data), reservation.mapped);
  for (const Piece& piece : reservation.pieces) driver().release(piece.handle);
  driver().address_free(address_of(data), reservation.bytes);
  reservations_.erase(found);
}

bool DeviceMemory::map(char* address, size_t bytes, Piece& piece) {
  const CUmemAllocationProp wanted = properties_on(device_);
  piece.bytes = bytes;
  CUmemAccessDesc access{};
  access.location = wanted.location;
  access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  CUresult code = driver().create(&piece.handle, bytes, &wanted, 0);
  if (code == CUDA_ERROR_OUT_OF_MEMORY) return false;
  check_driver(code, "cuMemCreate", bytes, device_);
  const char* call = "cuMemMap";
  code = driver().map(address_of(address), bytes, 0, piece.handle, 0);
  if (code == CUDA_SUCCESS) {
    call = "cuMemSetAccess";
    code = driver().set_access(address_of(address), bytes, &access, 1);
    if (code != CUDA_SUCCESS) driver().unmap(address_of(address), bytes);
  }
  if (code != CUDA_SUCCESS) driver().release(piece.handle);
  if (code == CUDA_ERROR_OUT_OF_MEMORY) return false;
  check_driver(code, call, bytes, device_);
  return true;
}

// Maps many granules at a time where there is much memory, else only the needed ones.
void DeviceMemory::grow(char* base, Reservation& reservation, size_t bytes) {
  const size_t needed = round_up(bytes - reservation.mapped, granularity_);
  const size_t generous = std::min(round_up(bytes - reservation.mapped, granules_at_once * granularity_),
                                   reservation.bytes - reservation.mapped);
  Piece piece{};
  char* const end = base + reservation.mapped;
  if (!map(end, generous, piece) && !map(end, needed, piece)) {
    size_t free = 0, total = 0;
    check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
    throw Shortage(place_of(device_), free, total);
  }
  reservation.pieces.push_back(piece);
  reservation.mapped += piece.bytes;
}

void DeviceMemory::commit(void* base, size_t from, size_t to) {
  Reservation& reservation = reservations_.at(base);
  if (to > reservation.mapped) grow(static_cast<char*>(base), reservation, to);
  reservation.regions.hand_out(static_cast<char*>(base), reservation.mapped, from, to);
#ifdef ENGINE_SIM
  const auto start = [=, mapped = reservation.mapped, stream = device_.compute_stream()] {
    cudasim::hand_out(base, from, to, mapped, stream);
  };
  start_or_record(start, base, from, to, reservation.mapped);
#endif
}

void DeviceMemory::make_slot(Slot& slot) {
  void *pinned = nullptr, *landing = nullptr;
  check(cudaHostAlloc(&pinned, slot_bytes, cudaHostAllocDefault), "pinned memory for copies");
  slot.pinned = static_cast<char*>(pinned);
  check(cudaMalloc(&landing, slot_bytes), "memory for copies");
  slot.landing = static_cast<char*>(landing);
  check(cudaEventCreateWithFlags(&slot.landed, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  check(cudaEventCreateWithFlags(&slot.done, cudaEventDisableTiming), "cudaEventCreateWithFlags");
}

void DeviceMemory::copy_in(void* device, const void* host, size_t bytes) {
  require(!device_.is_capturing(), "data is copied to the device inside a step that is captured as a graph");
  for (size_t begin = 0; begin < bytes; begin += slot_bytes) {
    const size_t part = std::min(slot_bytes, bytes - begin);
    Slot& slot = ring_[next_slot_];
    next_slot_ = (next_slot_ + 1) % ring_.size();
    if (!slot.pinned) make_slot(slot);
    check(cudaEventSynchronize(slot.done), "cudaEventSynchronize");
    std::memcpy(slot.pinned, static_cast<const char*>(host) + begin, part);
    check(cudaMemcpyAsync(slot.landing, slot.pinned, part, cudaMemcpyHostToDevice, device_.copy_stream()),
          "copying to the device");
    check(cudaEventRecord(slot.landed, device_.copy_stream()), "cudaEventRecord");
    check(cudaStreamWaitEvent(device_.compute_stream(), slot.landed, 0), "cudaStreamWaitEvent");
    check(cudaMemcpyAsync(static_cast<char*>(device) + begin, slot.landing, part, cudaMemcpyDeviceToDevice,
                          device_.compute_stream()),
          "copying on the device");
    check(cudaEventRecord(slot.done, device_.compute_stream()), "cudaEventRecord");
  }
}

void DeviceMemory::copy_out(void* host, const void* device, size_t bytes) {
  require(!device_.is_capturing(), "data is copied to the host inside a step that is captured as a graph");
  if (bytes)
    check(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, device_.compute_stream()),
          "copying to the host");
  device_.synchronize();
}

void DeviceMemory::zero(void* device, size_t bytes) {
  if (!bytes) return;
  const cudaStream_t stream = device_.compute_stream();
  start_or_record([=] { check(cudaMemsetAsync(device, 0, bytes, stream), "cudaMemsetAsync"); }, device, bytes);
}

std::unique_ptr<Readback> DeviceMemory::make_readback(size_t bytes) {
  return std::make_unique<DeviceReadback>(device_, bytes);
}

}  // namespace engine::cuda
