#include "core/cuda/readback.h"

#include <cstring>

#include "core/cuda/operation.h"
#include "core/error.h"

namespace engine::cuda {

DeviceReadback::DeviceReadback(Device& device, size_t bytes) : device_(device), bytes_(bytes) {
  void* pinned = nullptr;
  check(cudaHostAlloc(&pinned, sizeof(int) + bytes, cudaHostAllocDefault), "pinned memory for results");
  pinned_ = static_cast<char*>(pinned);
  check(cudaEventCreateWithFlags(&arrived_, cudaEventDisableTiming), "cudaEventCreateWithFlags");
}

DeviceReadback::~DeviceReadback() {
  // Copies may still be on their way where an error has ended a training.
  cudaStreamSynchronize(device_.compute_stream());
  cudaFreeHost(pinned_);
  if (arrived_) cudaEventDestroy(arrived_);
}

void DeviceReadback::start(std::initializer_list<Piece> pieces) {
  require(!device_.is_capturing(), "results are copied to the host inside a step that is captured as a graph");
  char* next = pinned_;
  const auto copy = [&](const void* data, size_t bytes) {
    require(next + bytes <= pinned_ + sizeof(int) + bytes_, "a readback of ", bytes_, " bytes is given more");
    check(cudaMemcpyAsync(next, data, bytes, cudaMemcpyDeviceToHost, device_.compute_stream()), "copying to the host");
    next += bytes;
  };
  copy(device_.fault().is_claimed, sizeof(int));
  for (const Piece& piece : pieces) copy(piece.data, piece.bytes);
  check(cudaEventRecord(arrived_, device_.compute_stream()), "cudaEventRecord");
  operations_ = started_operation_count();
}

const char* DeviceReadback::wait() {
  check(cudaEventSynchronize(arrived_), "waiting for the device");
  forget_started_operations(operations_);
  int is_claimed = 0;
  std::memcpy(&is_claimed, pinned_, sizeof is_claimed);
  if (is_claimed) [[unlikely]]
    device_.synchronize();
  return pinned_ + sizeof(int);
}

}  // namespace engine::cuda
