// Memory of a device: reserving, filling and reading it. Host memory is here. CUDA has its own class.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <memory>
#include <string>

namespace engine {

// An arena of limited address space reserves at least so much at a time.
constexpr size_t small_reservation = size_t{64} << 20;

// A Readback brings a few small results of a device to the host, which need not wait for them at once. One can be used
// again and again.
class Readback {
 public:
  struct Piece {
    const void* data;
    size_t bytes;
  };
  virtual ~Readback() = default;
  // Copies these results, one behind the other, once the work that was started before has made them.
  virtual void start(std::initializer_list<Piece> pieces) = 0;
  // Waits for the copies of the last start, but for no work that was started after it, and returns them. Raises what
  // that work has found wrong.
  virtual const char* wait() = 0;
};

class Memory {
 public:
  virtual ~Memory() = default;
  // Reserves address space for `bytes`, aligned to 2 MiB. On the host its pages become real, and hold zeros, when they
  // are first touched. On other devices they become real when they are committed. Throws a Shortage where the host has
  // no address space left.
  virtual void* reserve(size_t bytes) = 0;
  virtual void release(void* data, size_t bytes) = 0;
  // Gives back the pages of a part of a reservation whose contents nobody reads any more. Returns false where that
  // cannot be done. Whole tensors of an arena may be given back while others beside them stay.
  virtual bool give_back(void* /*data*/, size_t /*bytes*/) { return false; }
  // Hands out the bytes `from` to `to` of the reservation at `base`. The bytes behind them are not in use. Throws a
  // Shortage where the device has no memory for them.
  virtual void commit(void* /*base*/, size_t /*from*/, size_t /*to*/) {}
  virtual void copy_in(void* device, const void* host, size_t bytes) = 0;
  virtual void copy_out(void* host, const void* device, size_t bytes) = 0;
  virtual void zero(void* device, size_t bytes) = 0;
  // Makes a Readback for results of so many bytes together.
  virtual std::unique_ptr<Readback> make_readback(size_t bytes);
  // Returns whether started work goes on while the host does something else.
  virtual bool is_asynchronous() const { return false; }
  virtual size_t capacity() const = 0;  // bytes that this process may use
  // Bytes that an arena of this capacity reserves at first: all of them, where reserving costs nothing.
  virtual size_t first_reservation(size_t capacity) const { return capacity; }
};

Memory& host_memory();

// Returns a size as a person reads it, such as "12 MiB".
std::string memory_text(size_t bytes);

// The error names what was asked for, what the device has, and which options need less.
[[noreturn]] void fail_out_of_memory(const std::string& what, size_t bytes, size_t free, size_t capacity);

}  // namespace engine
