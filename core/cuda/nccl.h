// NCCL, which exchanges tensors between GPUs. The library is loaded when several ranks compute on devices. What is used
// of it is declared here, so that the program is also built where NCCL's headers are not installed. Where they are,
// nccl.cc compares the two.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <string>

struct ncclComm;

namespace engine::cuda {

enum class NcclResult : int {
  success = 0,
  cuda_error = 1,
  system_error = 2,
  internal_error = 3,
  invalid_argument = 4,
  invalid_usage = 5,
  remote_error = 6,
  in_progress = 7,
};
enum class NcclType : int { u8 = 1, f32 = 7 };
enum class NcclOperation : int { sum = 0, max = 2 };
struct NcclId {
  char bytes[128];
};
// A communicator's settings, as they were in version 2.14. Later versions take them, too.
struct NcclConfig {
  size_t size = sizeof(NcclConfig);
  unsigned magic = 0xcafebeef, version = 21400;
  int blocking = 0;
};

// Holds the functions that we use of the library.
struct Nccl {
  NcclResult (*version)(int*);
  NcclResult (*make_id)(NcclId*);
  NcclResult (*init)(ncclComm**, int ranks, NcclId, int rank, NcclConfig*);
  NcclResult (*finalize)(ncclComm*);
  NcclResult (*destroy)(ncclComm*);
  NcclResult (*abort)(ncclComm*);
  NcclResult (*asynchronous_error)(ncclComm*, NcclResult*);
  const char* (*error_text)(NcclResult);
  const char* (*last_error)(ncclComm*);
  NcclResult (*group_start)();
  NcclResult (*group_end)();
  NcclResult (*all_reduce)(const void*, void*, size_t, NcclType, NcclOperation, ncclComm*, cudaStream_t);
  NcclResult (*reduce)(const void*, void*, size_t, NcclType, NcclOperation, int root, ncclComm*, cudaStream_t);
  NcclResult (*broadcast)(const void*, void*, size_t, NcclType, int root, ncclComm*, cudaStream_t);

  // Loads the library once. Returns null where it is not there or too old.
  static const Nccl* get();
  // Says what a result means, and what NCCL has noted of the communicator's last error.
  std::string text_of(NcclResult result, ncclComm* communicator) const;
};

}  // namespace engine::cuda
