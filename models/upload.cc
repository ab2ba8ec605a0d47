#include "models/upload.h"

#include <algorithm>

#include "core/arena_room.h"

namespace engine {

Upload::List Upload::add(size_t count) {
  const List made{numbers_.size(), count};
  // Every list begins as an arena's tensor does.
  const size_t end = made.begin + arena_room(count * sizeof(int32_t)) / sizeof(int32_t);
  // Room for twice as much as is needed, so that later steps, longer or shorter each time, do not allocate again.
  if (numbers_.capacity() < end) numbers_.reserve(2 * end);
  numbers_.resize(end);
  count_in(count);
  return made;
}

Upload::List Upload::list(std::span<const int32_t> numbers) {
  const List made = add(numbers.size());
  std::copy(numbers.begin(), numbers.end(), (*this)[made].begin());
  return made;
}

std::span<float> Upload::floats(const List& list) {
  static_assert(sizeof(float) == sizeof(int32_t));
  return {reinterpret_cast<float*>(numbers_.data() + list.begin), list.count};
}

void Upload::send(Arena& arena) {
  count_in(arena.used());
  on_device_ = arena.make(DType::i32, {static_cast<int64_t>(numbers_.size())});
  if (!numbers_.empty()) arena.memory().copy_in(on_device_.data, numbers_.data(), on_device_.bytes());
}

Tensor Upload::tensor(const List& list, DType dtype) const {
  return {static_cast<int32_t*>(on_device_.data) + list.begin, dtype, {static_cast<int64_t>(list.count)}};
}

Segments Upload::segments(const List& offsets, int64_t longest) {
  count_in(static_cast<uint64_t>(longest));
  return Segments::packed(tensor(offsets), longest);
}

Segments Upload::segments(const List& begin, const List& end, int64_t longest) {
  count_in(static_cast<uint64_t>(longest));
  return {tensor(begin), tensor(end), longest};
}

}  // namespace engine
