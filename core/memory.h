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
  virtual size_t capacity() const = 0;  // bytes the device has
};

Memory& host_memory();

}  // namespace engine
