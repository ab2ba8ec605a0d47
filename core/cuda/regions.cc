#include "core/cuda/regions.h"

#include <nvtx3/nvToolsExt.h>
#include <nvtx3/nvToolsExtMem.h>

namespace engine::cuda {

namespace {

// Null where no tool listens.
nvtxDomainHandle_t domain() {
  static const nvtxDomainHandle_t created = nvtxDomainCreateA("engine");
  return created;
}

}  // namespace

MemoryRegions::~MemoryRegions() { forget_heap(); }

void MemoryRegions::forget_heap() {
  if (heap_) nvtxMemHeapUnregister(domain(), heap_);  // and all of its regions
  heap_ = nullptr;
}

void MemoryRegions::tell(char* base, const Region& region) const {
  const nvtxMemVirtualRangeDesc_t range{region.to - region.from, base + region.from};
  nvtxMemRegionsRegisterBatch_t batch{};
  batch.extCompatID = NVTX_EXT_COMPATID_MEM;
  batch.structSize = sizeof batch;
  batch.regionType = NVTX_MEM_TYPE_VIRTUAL_ADDRESS;
  batch.heap = heap_;
  batch.regionCount = 1;
  batch.regionDescElementSize = sizeof range;
  batch.regionDescElements = &range;
  nvtxMemRegionsRegister(domain(), &batch);
}

void MemoryRegions::hand_out(char* base, size_t mapped, size_t from, size_t to) {
  if (!domain()) return;
  if (!heap_ || mapped != heap_bytes_) {  // the reservation has grown
    forget_heap();
    const nvtxMemVirtualRangeDesc_t range{mapped, base};
    nvtxMemHeapDesc_t heap{};
    heap.extCompatID = NVTX_EXT_COMPATID_MEM;
    heap.structSize = sizeof heap;
    heap.usage = NVTX_MEM_HEAP_USAGE_TYPE_SUB_ALLOCATOR;
    heap.type = NVTX_MEM_TYPE_VIRTUAL_ADDRESS;
    heap.typeSpecificDescSize = sizeof range;
    heap.typeSpecificDesc = &range;
    heap_ = nvtxMemHeapRegister(domain(), &heap);
    heap_bytes_ = mapped;
    for (const Region& region : regions_)
      if (region.to <= from) tell(base, region);
  }
  while (!regions_.empty() && regions_.back().to > from) {
    nvtxMemRegionRef_t reference{};
    reference.pointer = base + regions_.back().from;
    nvtxMemRegionsUnregisterBatch_t batch{};
    batch.extCompatID = NVTX_EXT_COMPATID_MEM;
    batch.structSize = sizeof batch;
    batch.refType = NVTX_MEM_REGION_REF_TYPE_POINTER;
    batch.refCount = 1;
    batch.refElementSize = sizeof reference;
    batch.refElements = &reference;
    nvtxMemRegionsUnregister(domain(), &batch);
    regions_.pop_back();
  }
  if (to > from) tell(base, regions_.emplace_back(Region{from, to}));
}

}  // namespace engine::cuda
