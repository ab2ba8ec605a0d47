// Arena: the owner of device memory. Tensors are bumped off one reservation and released together, by scope.
#pragma once

#include <cstddef>

#include "core/memory.h"
#include "core/tensor.h"

namespace engine {

class Arena {
 public:
  // Reserves `capacity` bytes; 0: as much as the device has.
  explicit Arena(Memory& memory, size_t capacity = 0);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // An uninitialised tensor, 64-byte aligned. An error says what was asked for and what to lower.
  Tensor make(DType dtype, Shape shape);
  Tensor make_zeros(DType dtype, Shape shape);

  size_t used() const { return used_; }
  size_t peak() const { return peak_; }
  Memory& memory() const { return memory_; }

 private:
  friend class ArenaScope;
  Memory& memory_;
  char* base_;
  size_t capacity_;
  size_t used_ = 0;
  size_t peak_ = 0;
};

// What is made of the arena inside the scope is released at its end.
class ArenaScope {
 public:
  explicit ArenaScope(Arena& arena) : arena_(arena), used_(arena.used_) {}
  ~ArenaScope() { arena_.used_ = used_; }
  ArenaScope(const ArenaScope&) = delete;
  ArenaScope& operator=(const ArenaScope&) = delete;

 private:
  Arena& arena_;
  size_t used_;
};

}  // namespace engine
