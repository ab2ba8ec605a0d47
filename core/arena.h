// Arena: the owner of device memory. It hands out tensors one behind the other and releases them together, by scope.
#pragma once

#include <cstddef>
#include <vector>

#include "core/memory.h"
#include "core/tensor.h"

namespace engine {

// An arena has one region as large as its capacity, where reserving address space costs nothing. Where address space is
// limited (ulimit -v), it begins with a small region and adds others as tensors need them. Regions are kept until the
// arena ends, so the same tensors get the same addresses every time.
class Arena {
 public:
  // A capacity of 0 stands for all that the device has.
  explicit Arena(Memory& memory, size_t capacity = 0);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // An uninitialised tensor, aligned to 64 bytes. Where memory is short the error names the tensor and what to lower.
  Tensor make(DType dtype, Shape shape);
  Tensor make_zeros(DType dtype, Shape shape);

  size_t used() const { return end_.used; }
  size_t peak() const { return peak_; }
  Memory& memory() const { return memory_; }

 private:
  friend class ArenaScope;
  struct Region {
    char* base;
    size_t bytes;
  };
  // The end of what is handed out: a place in a region, and the bytes in all of them.
  struct End {
    size_t region = 0, place = 0, used = 0;
  };
  bool has_room(const End& end, size_t bytes) const;
  // Moves the end to a region with room for so many bytes.
  void go_to_next_region(size_t bytes);
  Region reserve(size_t bytes);

  Memory& memory_;
  size_t capacity_;
  std::vector<Region> regions_;
  End end_;
  size_t peak_ = 0;
};

// Releases at its end what was made of the arena while it lived.
class ArenaScope {
 public:
  explicit ArenaScope(Arena& arena) : arena_(arena), end_(arena.end_) {}
  ~ArenaScope() { arena_.end_ = end_; }
  ArenaScope(const ArenaScope&) = delete;
  ArenaScope& operator=(const ArenaScope&) = delete;

 private:
  Arena& arena_;
  Arena::End end_;
};

}  // namespace engine
