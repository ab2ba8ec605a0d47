// Memory of a device: reserving, filling and reading it. Host memory is here. CUDA has its own class.
#pragma once

#include <cstddef>
#include <string>

namespace engine {

// An arena of limited address space reserves at least so much at a time.
constexpr size_t small_reservation = size_t{64} << 20;

class Memory {
 public:
  virtual ~Memory() = default;
  // Reserves address space for `bytes`, aligned to 2 MiB. On the host its pages become real, and hold zeros, when they
  // are first touched. On other devices they become real when they are committed. Throws a Shortage where the host has
  // no address space left.
  virtual void* reserve(size_t bytes) = 0;
  virtual void release(void* data, size_t bytes) = 0;
  // Hands out the bytes `from` to `to` of the reservation at `base`. The bytes behind them are not in use. Throws a
  // Shortage where the device has no memory for them.
  virtual void commit(void* /*base*/, size_t /*from*/, size_t /*to*/) {}
  virtual void copy_in(void* device, const void* host, size_t bytes) = 0;
  virtual void copy_out(void* host, const void* device, size_t bytes) = 0;
  virtual void zero(void* device, size_t bytes) = 0;
  virtual size_t capacity() const = 0;  // bytes that this process may use
  // Bytes that an arena of this capacity reserves at first: all of them, where reserving costs nothing.
  virtual size_t first_reservation(size_t capacity) const { return capacity; }
};

Memory& host_memory();

// The error names what was asked for, what the device has, and which options need less.
[[noreturn]] void fail_out_of_memory(const std::string& what, size_t bytes, size_t free, size_t capacity);

}  // namespace engine
