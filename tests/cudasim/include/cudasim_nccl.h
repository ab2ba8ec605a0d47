// NCCL of the simulated device, under its real names: the functions that the engine uses.
#pragma once

#include "core/cuda/nccl.h"

engine::cuda::NcclResult ncclGetVersion(int* version);
engine::cuda::NcclResult ncclGetUniqueId(engine::cuda::NcclId* id);
engine::cuda::NcclResult ncclCommInitRankConfig(ncclComm** communicator, int ranks, engine::cuda::NcclId id, int rank,
                                                engine::cuda::NcclConfig* config);
engine::cuda::NcclResult ncclCommFinalize(ncclComm* communicator);
engine::cuda::NcclResult ncclCommDestroy(ncclComm* communicator);
engine::cuda::NcclResult ncclCommAbort(ncclComm* communicator);
engine::cuda::NcclResult ncclCommGetAsyncError(ncclComm* communicator, engine::cuda::NcclResult* error);
const char* ncclGetErrorString(engine::cuda::NcclResult result);
const char* ncclGetLastError(ncclComm* communicator);
engine::cuda::NcclResult ncclGroupStart();
engine::cuda::NcclResult ncclGroupEnd();
engine::cuda::NcclResult ncclAllReduce(const void* from, void* to, size_t count, engine::cuda::NcclType type,
                                       engine::cuda::NcclOperation operation, ncclComm* communicator,
                                       cudaStream_t stream);
engine::cuda::NcclResult ncclReduce(const void* from, void* to, size_t count, engine::cuda::NcclType type,
                                    engine::cuda::NcclOperation operation, int root, ncclComm* communicator,
                                    cudaStream_t stream);
engine::cuda::NcclResult ncclBroadcast(const void* from, void* to, size_t count, engine::cuda::NcclType type, int root,
                                       ncclComm* communicator, cudaStream_t stream);
