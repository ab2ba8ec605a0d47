// Finds NCCL.
#include "core/cuda/nccl.h"

#include <cstdlib>

#include "core/cuda/library.h"
#include "core/cuda/presence.h"
#include "core/error.h"
#ifdef ENGINE_SIM
#include <cudasim_nccl.h>
#else
#include <dlfcn.h>
#if __has_include(<nccl.h>)
#include <nccl.h>
#endif
#endif

namespace engine::cuda {

namespace {

// Lists the table's members with their names in the library.
#define ENGINE_NCCL_FUNCTIONS(_)               \
  _(version, ncclGetVersion)                   \
  _(make_id, ncclGetUniqueId)                  \
  _(init, ncclCommInitRankConfig)              \
  _(finalize, ncclCommFinalize)                \
  _(destroy, ncclCommDestroy)                  \
  _(abort, ncclCommAbort)                      \
  _(asynchronous_error, ncclCommGetAsyncError) \
  _(error_text, ncclGetErrorString)            \
  _(last_error, ncclGetLastError)              \
  _(group_start, ncclGroupStart)               \
  _(group_end, ncclGroupEnd)                   \
  _(all_reduce, ncclAllReduce)                 \
  _(reduce, ncclReduce)                        \
  _(broadcast, ncclBroadcast)

#ifdef NCCL_VERSION_CODE
static_assert(sizeof(NcclId) == sizeof(ncclUniqueId) && sizeof(NcclConfig) <= sizeof(ncclConfig_t));
static_assert(offsetof(NcclConfig, magic) == offsetof(ncclConfig_t, magic));
static_assert(offsetof(NcclConfig, version) == offsetof(ncclConfig_t, version));
static_assert(offsetof(NcclConfig, blocking) == offsetof(ncclConfig_t, blocking));
static_assert(static_cast<int>(NcclResult::system_error) == ncclSystemError);
static_assert(static_cast<int>(NcclResult::invalid_usage) == ncclInvalidUsage);
static_assert(static_cast<int>(NcclResult::remote_error) == ncclRemoteError);
static_assert(static_cast<int>(NcclResult::in_progress) == ncclInProgress);
static_assert(static_cast<int>(NcclType::u8) == ncclUint8 && static_cast<int>(NcclType::f32) == ncclFloat32);
static_assert(static_cast<int>(NcclOperation::sum) == ncclSum && static_cast<int>(NcclOperation::max) == ncclMax);
#endif

struct LoadedNccl {
  Nccl table{};
  std::string problem;
};

#ifdef ENGINE_SIM
// Takes the simulated device's functions, which are a part of the program, unless CUDASIM_NCCL says "absent".
LoadedNccl load_nccl() {
  LoadedNccl loaded;
  const char* const is = std::getenv("CUDASIM_NCCL");
  if (is && std::string(is) == "absent") loaded.problem = "libnccl.so.2 cannot be loaded";
#define FOUND(member, name) loaded.table.member = &name;
  ENGINE_NCCL_FUNCTIONS(FOUND)
#undef FOUND
  return loaded;
}
#else
LoadedNccl load_nccl() {
  LoadedNccl loaded;
  void* const library = open_library("libnccl.so.2", "nccl");
  if (!library) {
    loaded.problem = "libnccl.so.2 cannot be loaded";
    return loaded;
  }
#define FOUND(member, name)                                                                    \
  loaded.table.member = reinterpret_cast<decltype(loaded.table.member)>(dlsym(library, #name)); \
  if (!loaded.table.member && loaded.problem.empty()) loaded.problem = "libnccl.so.2 has no " #name ": it is too old";
  ENGINE_NCCL_FUNCTIONS(FOUND)
#undef FOUND
  return loaded;
}
#endif

const LoadedNccl& loaded_nccl() {
  static const LoadedNccl loaded = load_nccl();
  return loaded;
}

}  // namespace

const Nccl* Nccl::get() { return loaded_nccl().problem.empty() ? &loaded_nccl().table : nullptr; }

std::string Nccl::text_of(NcclResult result, ncclComm* communicator) const {
  std::string text = error_text(result);
  const char* const more = last_error(communicator);
  if (more && *more) text.append(" (").append(more).append(")");
  return text;
}

std::string nccl_problem() { return loaded_nccl().problem; }

std::string nccl_description() {
  int version = 0;
  Nccl::get()->version(&version);
  return detail::joined("NCCL ", version / 10000, ".", version / 100 % 100, ".", version % 100);
}

}  // namespace engine::cuda
