// The part of NVTX's interface that the engine uses, for the simulated device. No profiler listens to ranges.
#pragma once

struct nvtxDomainRegistration_st;
using nvtxDomainHandle_t = nvtxDomainRegistration_st*;

inline int nvtxRangePushA(const char*) { return 0; }
inline int nvtxRangePop() { return 0; }
// Returns null unless the variable CUDASIM_NVTX of the environment is set: then regions of memory are kept for tests.
nvtxDomainHandle_t nvtxDomainCreateA(const char* name);
