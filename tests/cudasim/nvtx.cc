#include "tests/cudasim/nvtx.h"

#include <nvtx3/nvToolsExtMem.h>

#include <cstdlib>

#include "core/error.h"

struct nvtxMemHeap_v1 {
  const char* begin;
  size_t size;
};

namespace cudasim {

namespace {

std::map<const char*, size_t> regions;

}  // namespace

const std::map<const char*, size_t>& nvtx_regions() { return regions; }

}  // namespace cudasim

nvtxDomainHandle_t nvtxDomainCreateA(const char*) {
  static char domain = 0;
  return std::getenv("CUDASIM_NVTX") ? reinterpret_cast<nvtxDomainHandle_t>(&domain) : nullptr;
}

nvtxMemHeapHandle_t nvtxMemHeapRegister(nvtxDomainHandle_t, nvtxMemHeapDesc_t const* heap) {
  const auto* const range = static_cast<const nvtxMemVirtualRangeDesc_t*>(heap->typeSpecificDesc);
  return new nvtxMemHeap_v1{static_cast<const char*>(range->ptr), range->size};
}

void nvtxMemHeapUnregister(nvtxDomainHandle_t, nvtxMemHeapHandle_t heap) {
  std::erase_if(cudasim::regions, [&](const auto& region) {
    return region.first >= heap->begin && region.first < heap->begin + heap->size;
  });
  delete heap;
}

void nvtxMemRegionsRegister(nvtxDomainHandle_t, nvtxMemRegionsRegisterBatch_t const* batch) {
  const auto* const range = static_cast<const nvtxMemVirtualRangeDesc_t*>(batch->regionDescElements);
  const char* const begin = static_cast<const char*>(range->ptr);
  const auto next = cudasim::regions.lower_bound(begin);
  const bool is_inside = begin >= batch->heap->begin && begin + range->size <= batch->heap->begin + batch->heap->size;
  const bool is_over_next = next != cudasim::regions.end() && next->first < begin + range->size;
  const auto last = next == cudasim::regions.begin() ? cudasim::regions.end() : std::prev(next);
  const bool is_over_last = last != cudasim::regions.end() && last->first + last->second > begin;
  engine::require(is_inside && !is_over_next && !is_over_last,
                  "NVTX: a region outside of its heap, or over another one");
  cudasim::regions[begin] = range->size;
}

void nvtxMemRegionsUnregister(nvtxDomainHandle_t, nvtxMemRegionsUnregisterBatch_t const* batch) {
  engine::require(cudasim::regions.erase(static_cast<const char*>(batch->refElements->pointer)) == 1,
                  "NVTX: there is no such region");
}
