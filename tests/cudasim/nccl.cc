// NCCL of the simulated device, for ranks that are processes of this machine. It does what NCCL documents:
// - A communicator is connected in the background, and calls may go on there (ncclInProgress). Nothing else may be
//   called until they are done.
// - The operations of a group are one. It is done in the stream's order, once all ranks have come to it. So it ends in
//   no rank where one does something else: ncclCommGetAsyncError tells of it then, and ncclCommAbort ends it.
// - Each rank has the same bits of a sum, which is taken in the order of the ranks.
//
// If NCCL leaves something open, it does what shows most errors. Work of a stream is done as late as possible
// (stream.h), or when another rank waits for it. Memory that travels must not change from the moment at which its
// operation can begin until it is done, else the stream fails and says so: it was not complete, or it was used again
// too early.
//
// Variables of the environment: CUDASIM_NCCL = absent: the library is not there; = unreachable: this rank meets no
// other one. CUDASIM_NCCL_DELAY: milliseconds that each group takes at least.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <sstream>
#include <thread>

#include <cudasim_nccl.h>
#include <unistd.h>

#include "core/error.h"
#include "tests/cudasim/memory.h"
#include "tests/cudasim/monitor.h"
#include "tests/cudasim/nccl_ranks.h"
#include "tests/cudasim/stream.h"

using namespace engine::cuda;
using namespace cudasim;

namespace {

enum class Kind : int { all_reduce, reduce, broadcast };

// Alike is what all ranks must say of an operation.
struct Alike {
  Kind kind;
  NcclType type;
  NcclOperation operation;
  int root;
  size_t count;
  bool operator==(const Alike&) const = default;
  std::string text() const {
    constexpr const char* names[] = {"ncclAllReduce", "ncclReduce", "ncclBroadcast"};
    std::ostringstream out;
    out << names[static_cast<int>(kind)] << " of " << count << (type == NcclType::f32 ? " f32" : " u8");
    if (kind != Kind::broadcast) out << ", " << (operation == NcclOperation::sum ? "sum" : "max");
    if (kind != Kind::all_reduce) out << ", root " << root;
    return out.str();
  }
  size_t bytes() const { return count * (type == NcclType::f32 ? sizeof(float) : 1); }
  // The bytes that a rank gives, and gets.
  size_t given(int rank) const { return kind == Kind::broadcast && rank != root ? 0 : bytes(); }
  size_t got(int rank) const { return kind == Kind::reduce && rank != root ? 0 : bytes(); }
};
struct Operation {
  Alike alike;
  const char* from;
  char* to;
};

}  // namespace

struct ncclComm {
  ncclComm(const std::string& name, int rank_, int size_) : rank(rank_), size(size_), ranks(name, rank_, size_) {}
  const int rank, size;
  NcclRanks ranks;
  bool is_in_progress = false;  // a call goes on until it is asked for
  bool was_aborted = false, is_over = false;
  NcclResult error = NcclResult::success;
  std::string last_error;
  uint64_t enqueued = 0, begun = 0, done = 0;  // groups
  cudaStream_t stream = nullptr;               // that of the groups
  std::thread server;
};

namespace {

// One thread's group.
thread_local int group_depth = 0;
thread_local std::vector<Operation> group;
thread_local ncclComm* group_communicator = nullptr;
thread_local cudaStream_t group_stream = nullptr;

template <class T>
void combine(std::vector<char>& sum, const char* more, NcclOperation operation) {
  for (size_t at = 0; at < sum.size(); at += sizeof(T)) {
    T a, b;
    std::memcpy(&a, &sum[at], sizeof a);
    std::memcpy(&b, more + at, sizeof b);
    const T both = operation == NcclOperation::max ? std::max(a, b) : static_cast<T>(a + b);
    std::memcpy(&sum[at], &both, sizeof both);
  }
}

// Writes what this rank gets of an operation, from what all ranks give.
void finish(const Operation& one, const std::vector<const char*>& of_ranks, int rank) {
  const Alike& alike = one.alike;
  if (alike.got(rank) == 0) return;
  if (alike.kind == Kind::broadcast) {
    std::memcpy(one.to, of_ranks[static_cast<size_t>(alike.root)], alike.bytes());
    return;
  }
  std::vector<char> sum(of_ranks[0], of_ranks[0] + alike.bytes());
  for (size_t i = 1; i < of_ranks.size(); ++i) {
    if (alike.type == NcclType::f32) combine<float>(sum, of_ranks[i], alike.operation);
    else combine<uint8_t>(sum, of_ranks[i], alike.operation);
  }
  std::memcpy(one.to, sum.data(), sum.size());
}

// A message is the operations' number, what is alike in each, and their data.
std::string message_of(const std::vector<Operation>& operations, int rank) {
  const uint64_t count = operations.size();
  std::string text(reinterpret_cast<const char*>(&count), sizeof count);
  for (const Operation& one : operations) text.append(reinterpret_cast<const char*>(&one.alike), sizeof one.alike);
  for (const Operation& one : operations) text.append(one.from, one.alike.given(rank));
  return text;
}

// Returns how another rank's message differs from what this rank does, empty if it does not.
std::string difference(const std::vector<Operation>& own, const std::string& other, int rank) {
  uint64_t count = 0;
  std::memcpy(&count, other.data(), sizeof count);
  for (size_t i = 0; i < std::max<size_t>(own.size(), count); ++i) {
    Alike theirs{};
    if (i < count) std::memcpy(static_cast<void*>(&theirs), &other[sizeof count + i * sizeof theirs], sizeof theirs);
    if (i < own.size() && i < count && own[i].alike == theirs) continue;
    return engine::detail::joined("rank ", rank, ": ", i < count ? theirs.text() : "nothing",
                                  "; this rank: ", i < own.size() ? own[i].alike.text() : "nothing");
  }
  return "";
}

void wait_for_abort(ncclComm& communicator, NcclResult error, const std::string& text) {
  communicator.error = error;
  communicator.last_error = text;
  wait_until([&] { return communicator.was_aborted; });
}

// Does a group's operations. Returns early where the communicator is aborted.
void run_group(ncclComm& communicator, const std::vector<Operation>& operations) {
  const std::string own = message_of(operations, communicator.rank);
  static const char* const delay = std::getenv("CUDASIM_NCCL_DELAY");
  outside([&] {
    if (delay) std::this_thread::sleep_for(std::chrono::milliseconds(std::atoi(delay)));
    for (int rank = 0; rank < communicator.size; ++rank)
      if (rank != communicator.rank) communicator.ranks.send(rank, own);
  });
  std::vector<std::string> messages;
  for (int rank = 0; rank < communicator.size; ++rank) {
    if (rank == communicator.rank) {
      messages.push_back(own);
      continue;
    }
    const auto is_there = [&] { return communicator.ranks.has_message(rank); };
    wait_until([&] { return is_there() || communicator.was_aborted || communicator.ranks.lost() == rank; });
    if (communicator.was_aborted) return;
    const std::string ended = engine::detail::joined("rank ", rank, " has ended");
    if (!is_there()) return wait_for_abort(communicator, NcclResult::remote_error, ended);
    messages.push_back(communicator.ranks.take(rank));
    if (const std::string text = difference(operations, messages.back(), rank); !text.empty())
      return wait_for_abort(communicator, NcclResult::invalid_usage,
                            engine::detail::joined("group ", communicator.done + 1, " of ", text));
  }
  std::vector<const char*> of_ranks;
  for (const std::string& message : messages)
    of_ranks.push_back(message.data() + sizeof(uint64_t) + operations.size() * sizeof(Alike));
  for (const Operation& one : operations) {
    finish(one, of_ranks, communicator.rank);
    for (size_t rank = 0; rank < of_ranks.size(); ++rank) of_ranks[rank] += one.alike.given(static_cast<int>(rank));
  }
}

bool is_wanted(const ncclComm& communicator) {
  if (has_executor() || communicator.enqueued == communicator.done) return false;
  for (int rank = 0; rank < communicator.size; ++rank)
    if (rank != communicator.rank && communicator.ranks.has_message(rank)) return true;
  return false;
}

// Does what other ranks wait for, as a device does by itself.
void serve(ncclComm& communicator) {
  const Inside inside;
  for (;;) {
    wait_until([&] { return communicator.is_over || is_wanted(communicator); });
    if (communicator.is_over) return;
    const uint64_t before = communicator.done;
    const auto is_missing = [&] { return communicator.done == before && !communicator.was_aborted; };
    if (!run_while(communicator.stream, is_missing)) return;
  }
}

NcclResult refuse(ncclComm& communicator, const std::string& text, NcclResult result = NcclResult::invalid_argument) {
  communicator.last_error = text;
  return result;
}

// Checks what a call of this rank alone can have wrong.
NcclResult check_call(ncclComm& communicator, const Operation& one, cudaStream_t stream) {
  if (communicator.is_in_progress)
    return refuse(communicator, "a call before the last one is done", NcclResult::invalid_usage);
  const size_t given = one.alike.given(communicator.rank), got = one.alike.got(communicator.rank);
  if (one.alike.root < 0 || one.alike.root >= communicator.size)
    return refuse(communicator, one.alike.text() + ": there is no such rank");
  if ((given && !is_device_memory(one.from, given)) || (got && !is_device_memory(one.to, got)))
    return refuse(communicator, one.alike.text() + ": not in device memory");
  if (one.to != one.from && one.from < one.to + got && one.to < one.from + given)
    return refuse(communicator, one.alike.text() + ": what is given and got overlap, but not in place");
  if (stream->capture) return refuse(communicator, "inside a capture", NcclResult::invalid_usage);
  return NcclResult::success;
}

NcclResult end_group() {
  const std::vector<Operation> operations = std::move(group);
  group.clear();
  if (operations.empty()) return NcclResult::success;
  ncclComm& communicator = *group_communicator;
  Transfer transfer;
  for (const Operation& one : operations) {
    const size_t given = one.alike.given(communicator.rank), got = one.alike.got(communicator.rank);
    if (given) transfer.pieces.push_back({one.from, given});
    if (got && (one.to != one.from || !given)) transfer.pieces.push_back({one.to, got});
  }
  transfer.name = operations[0].alike.text();
  communicator.stream = group_stream;
  Task task;
  task.run = [&communicator, operations] {
    run_group(communicator, operations);
    ++communicator.done;
    return std::string();
  };
  task.transfer = std::make_shared<Transfer>(std::move(transfer));
  if (push(group_stream, std::move(task)) != cudaSuccess) return NcclResult::cuda_error;
  ++communicator.enqueued;
  communicator.is_in_progress = true;
  return NcclResult::in_progress;
}

NcclResult add(Operation one, ncclComm* communicator, cudaStream_t stream) {
  const Inside inside;
  if (const NcclResult result = check_call(*communicator, one, stream); result != NcclResult::success) return result;
  if (!group.empty() && (group_communicator != communicator || group_stream != stream))
    return refuse(*communicator, "a group of several communicators or streams", NcclResult::invalid_usage);
  group_communicator = communicator;
  group_stream = stream;
  group.push_back(one);
  return group_depth > 0 ? NcclResult::success : end_group();
}

}  // namespace

NcclResult ncclGetVersion(int* version) {
  *version = 22809;
  return NcclResult::success;
}

NcclResult ncclGetUniqueId(NcclId* id) {
  static int count = 0;
  *id = {};
  std::snprintf(id->bytes, sizeof id->bytes, "cudasim-nccl-%d-%d", static_cast<int>(getpid()), ++count);
  return NcclResult::success;
}

NcclResult ncclCommInitRankConfig(ncclComm** communicator, int ranks, NcclId id, int rank, NcclConfig* config) {
  const Inside inside;
  if (rank < 0 || rank >= ranks || config->magic != 0xcafebeef || config->blocking != 0)
    return NcclResult::invalid_argument;
  *communicator = new ncclComm(id.bytes, rank, ranks);
  (*communicator)->is_in_progress = true;
  (*communicator)->server = std::thread(serve, std::ref(**communicator));
  return NcclResult::in_progress;
}

NcclResult ncclCommFinalize(ncclComm* communicator) {
  const Inside inside;
  communicator->is_in_progress = true;
  return NcclResult::in_progress;
}

static void end_communicator(ncclComm& communicator, bool aborts) {
  communicator.was_aborted = communicator.was_aborted || aborts;
  communicator.is_over = true;
  communicator.ranks.stop();
  outside([&] {
    if (communicator.server.joinable()) communicator.server.join();
  });
}

NcclResult ncclCommDestroy(ncclComm* communicator) {
  const Inside inside;
  end_communicator(*communicator, false);
  delete communicator;
  return NcclResult::success;
}

// The communicator itself stays, as streams may hold work of it.
NcclResult ncclCommAbort(ncclComm* communicator) {
  const Inside inside;
  end_communicator(*communicator, true);
  return NcclResult::success;
}

NcclResult ncclCommGetAsyncError(ncclComm* communicator, NcclResult* error) {
  const Inside inside;
  *error = communicator->error;
  if (*error != NcclResult::success) return NcclResult::success;
  if (!communicator->ranks.is_connected() || communicator->is_in_progress) *error = NcclResult::in_progress;
  if (communicator->ranks.is_connected()) communicator->is_in_progress = false;
  return NcclResult::success;
}

const char* ncclGetErrorString(NcclResult result) {
  switch (result) {
    case NcclResult::success: return "no error";
    case NcclResult::invalid_argument: return "invalid argument";
    case NcclResult::invalid_usage: return "invalid usage";
    case NcclResult::remote_error: return "remote process exited or there was a network error";
    case NcclResult::in_progress: return "NCCL operation in progress";
    default: return "unknown result code";
  }
}

const char* ncclGetLastError(ncclComm* communicator) { return communicator ? communicator->last_error.c_str() : ""; }

NcclResult ncclGroupStart() {
  ++group_depth;
  return NcclResult::success;
}
NcclResult ncclGroupEnd() {
  const Inside inside;
  return --group_depth > 0 ? NcclResult::success : end_group();
}

NcclResult ncclAllReduce(const void* from, void* to, size_t count, NcclType type, NcclOperation operation,
                         ncclComm* communicator, cudaStream_t stream) {
  return add({{Kind::all_reduce, type, operation, 0, count}, static_cast<const char*>(from), static_cast<char*>(to)},
             communicator, stream);
}
NcclResult ncclReduce(const void* from, void* to, size_t count, NcclType type, NcclOperation operation, int root,
                      ncclComm* communicator, cudaStream_t stream) {
  return add({{Kind::reduce, type, operation, root, count}, static_cast<const char*>(from), static_cast<char*>(to)},
             communicator, stream);
}
NcclResult ncclBroadcast(const void* from, void* to, size_t count, NcclType type, int root, ncclComm* communicator,
                         cudaStream_t stream) {
  return add({{Kind::broadcast, type, NcclOperation::sum, root, count}, static_cast<const char*>(from),
              static_cast<char*>(to)},
             communicator, stream);
}
