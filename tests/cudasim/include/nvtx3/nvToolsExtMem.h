// NVTX's memory interface under its real names, for the simulated device. See tests/cudasim/nvtx.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "nvtx3/nvToolsExt.h"

#define NVTX_EXT_COMPATID_MEM 0x0102
#define NVTX_MEM_HEAP_USAGE_TYPE_SUB_ALLOCATOR 0x1
#define NVTX_MEM_TYPE_VIRTUAL_ADDRESS 0x1
#define NVTX_MEM_REGION_REF_TYPE_POINTER 0x1

struct nvtxMemHeap_v1;
using nvtxMemHeapHandle_t = nvtxMemHeap_v1*;
struct nvtxMemVirtualRangeDesc_t {
  size_t size;
  void const* ptr;
};
struct nvtxMemHeapDesc_t {
  uint16_t extCompatID, structSize;
  uint32_t reserved0, usage, type;
  size_t typeSpecificDescSize;
  void const* typeSpecificDesc;
};
struct nvtxMemRegionsRegisterBatch_t {
  uint16_t extCompatID, structSize;
  uint32_t regionType;
  nvtxMemHeapHandle_t heap;
  size_t regionCount, regionDescElementSize;
  void const* regionDescElements;
};
union nvtxMemRegionRef_t {
  void const* pointer;
};
struct nvtxMemRegionsUnregisterBatch_t {
  uint16_t extCompatID, structSize;
  uint32_t refType;
  size_t refCount, refElementSize;
  nvtxMemRegionRef_t const* refElements;
};
nvtxMemHeapHandle_t nvtxMemHeapRegister(nvtxDomainHandle_t domain, nvtxMemHeapDesc_t const* heap);
void nvtxMemHeapUnregister(nvtxDomainHandle_t domain, nvtxMemHeapHandle_t heap);
void nvtxMemRegionsRegister(nvtxDomainHandle_t domain, nvtxMemRegionsRegisterBatch_t const* batch);
void nvtxMemRegionsUnregister(nvtxDomainHandle_t domain, nvtxMemRegionsUnregisterBatch_t const* batch);
