// Tells a tool such as compute-sanitizer which bytes of a reservation are tensors, by NVTX's memory interface, so that
// it sees accesses between the tensors of an arena. Does nothing where no tool listens.
#pragma once

#include <cstddef>
#include <vector>

struct nvtxMemHeap_v1;

namespace engine::cuda {

class MemoryRegions {
 public:
  MemoryRegions() = default;
  ~MemoryRegions();
  MemoryRegions(const MemoryRegions&) = delete;
  MemoryRegions& operator=(const MemoryRegions&) = delete;

  // Tells that the bytes from ... to behind `base`, of which `mapped` have memory, are a tensor now, and that none
  // behind them is.
  void hand_out(char* base, size_t mapped, size_t from, size_t to);

 private:
  struct Region {
    size_t from, to;
  };
  void tell(char* base, const Region& region) const;
  void forget_heap();

  nvtxMemHeap_v1* heap_ = nullptr;
  size_t heap_bytes_ = 0;
  std::vector<Region> regions_;  // in rising order
};

}  // namespace engine::cuda
