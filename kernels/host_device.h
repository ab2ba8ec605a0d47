// ENGINE_HOST_DEVICE marks functions that both the CPU's kernels and those of a device call.
#pragma once

#ifdef __CUDACC__
#define ENGINE_HOST_DEVICE __host__ __device__
#else
#define ENGINE_HOST_DEVICE
#endif
