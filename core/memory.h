// Memory of a device: how it is had, filled and read. Host memory here; CUDA has its own.
#pragma once

#include <cstddef>

namespace engine {

class Memory {
 public:
  virtual ~Memory() = default;
  // Address space for `bytes`, 2 MiB aligned, of zeros. On the host pages become real when they are first touched, so
  // a generous reservation costs nothing.
  virtual void* reserve(size_t bytes) = 0;
  virtual void release(void* data, size_t bytes) = 0;
  virtual void copy_in(void* device, const void* host, size_t bytes) = 0;
  virtual void copy_out(void* host, const void* device, size_t bytes) = 0;
  virtual void zero(void* device, size_t bytes) = 0;
  virtual size_t capacity() const = 0;  // bytes the device has, and this process may use
};

Memory& host_memory();

namespace detail {
// The number of bytes that a control group's file allows; the largest number where it names none, or is not there.
size_t memory_limit(const char* file);
}  // namespace detail

}  // namespace engine
