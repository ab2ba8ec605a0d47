// Memory of a CUDA device. A reservation is address space. Memory is mapped into it as its arena grows, so that several
// arenas share the device without knowing how much each will need.
//
// Copies from the host go through a ring of pinned buffers and the copy stream into landing buffers on the device, and
// from there in the compute stream's order to their place. So the host does not wait, and earlier work of the compute
// stream with the destination is done before.
#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

#include <array>
#include <map>
#include <vector>

#include "core/cuda/device.h"
#include "core/cuda/regions.h"

namespace engine::cuda {

class DeviceMemory final : public Memory {
 public:
  DeviceMemory(Device& device, size_t capacity);
  ~DeviceMemory() override;
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  void* reserve(size_t bytes) override;
  void release(void* data, size_t bytes) override;
  void commit(void* base, size_t from, size_t to) override;
  void copy_in(void* device, const void* host, size_t bytes) override;
  void copy_out(void* host, const void* device, size_t bytes) override;  // waits for the device
  void zero(void* device, size_t bytes) override;
  std::unique_ptr<Readback> make_readback(size_t bytes) override;
  bool is_asynchronous() const override { return true; }
  size_t capacity() const override { return capacity_; }
  Device& device() { return device_; }

 private:
  struct Piece {
    CUmemGenericAllocationHandle handle;
    size_t bytes;
  };
  struct Reservation {
    size_t bytes = 0, mapped = 0;
    std::vector<Piece> pieces;
    MemoryRegions regions;  // tensors
  };
  struct Slot {
    char* pinned = nullptr;  // on the host
    char* landing = nullptr; // on the device
    cudaEvent_t landed = nullptr, done = nullptr;
  };
  void grow(char* base, Reservation& reservation, size_t bytes);
  bool map(char* address, size_t bytes, Piece& piece);  // false where memory is short
  static void make_slot(Slot& slot);

  Device& device_;
  size_t capacity_, granularity_ = 0;
  std::map<void*, Reservation> reservations_;
  std::array<Slot, 16> ring_;
  size_t next_slot_ = 0;
};

}  // namespace engine::cuda
