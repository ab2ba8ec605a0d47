// Memory of a device: how it is had, filled and read. Host memory here; CUDA has its own.
#pragma once

#include <cstddef>
#include <string>

namespace engine {

class Memory {
 public:
  virtual ~Memory() = default;
  // Address space for `bytes`, 2 MiB aligned: a generous reservation costs nothing. On the host its pages become real,
  // zeros, when they are first touched; on other devices when they are committed.
  virtual void* reserve(size_t bytes) = 0;
  virtual void release(void* data, size_t bytes) = 0;
  // The bytes from ... to of the reservation that begins at `base` are handed out, and none of those behind them is in
  // use. An Error says so where the device has no memory for them.
  virtual void commit(void* /*base*/, size_t /*from*/, size_t /*to*/) {}
  virtual void copy_in(void* device, const void* host, size_t bytes) = 0;
  virtual void copy_out(void* host, const void* device, size_t bytes) = 0;
  virtual void zero(void* device, size_t bytes) = 0;
  virtual size_t capacity() const = 0;  // bytes the device has, and this process may use
};

Memory& host_memory();

// Says what was asked for, what the device has, and what to lower.
[[noreturn]] void fail_out_of_memory(const std::string& what, size_t bytes, size_t free, size_t capacity);

namespace detail {
// The number of bytes that a control group's file allows; the largest number where it names none, or is not there.
size_t memory_limit(const char* file);
}  // namespace detail

}  // namespace engine
