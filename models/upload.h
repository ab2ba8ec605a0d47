// Upload: whole numbers that a pass needs on the device, gathered on the host in one piece and copied at once. Lists are
// made first, filled, and are tensors after send().
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/arena.h"
#include "core/hash.h"
#include "kernels/ops.h"

namespace engine {

class Upload {
 public:
  struct List {
    size_t begin = 0, count = 0;
  };

  // Begins anew; memory of earlier uploads is used again.
  void clear() {
    numbers_.clear();
    key_ = empty_hash;
  }
  // Room for `count` numbers.
  List list(int64_t count) { return add(static_cast<size_t>(count)); }
  List list(std::span<const int32_t> numbers);
  std::span<int32_t> operator[](const List& list) { return std::span(numbers_).subspan(list.begin, list.count); }
  std::span<float> floats(const List& list);

  // Copies everything to the arena; from then on tensor() gives the lists. Adds nothing to what work is captured by: that
  // is key().
  void send(Arena& arena);
  Tensor tensor(const List& list) const { return tensor(list, DType::i32); }
  Tensor tensor(const List& list, DType dtype) const;
  Segments segments(const List& offsets, int64_t longest);
  Segments segments(const List& begin, const List& end, int64_t longest);

  // A number that differs where the shapes of any two uploads differ: of every list and of every longest segment, in
  // their order, and of what the arena holds before them. Tensors that are made afterwards have the same addresses where
  // it is the same, so that a captured step is replayed only where nothing about its tensors has changed.
  uint64_t key() const { return key_; }

 private:
  List add(size_t count);
  void count_in(uint64_t number) { key_ = hash_of({reinterpret_cast<const char*>(&number), sizeof number}, key_); }

  std::vector<int32_t> numbers_;
  Tensor on_device_;
  uint64_t key_ = empty_hash;
};

}  // namespace engine
