#include "core/arena.h"

#include <algorithm>

#include "core/arena_room.h"
#include "core/shortage.h"

namespace engine {

Arena::Arena(Memory& memory, size_t capacity)
    : memory_(memory), capacity_(capacity ? capacity : memory.capacity()) {}

Arena::~Arena() {
  for (const Region& region : regions_) memory_.release(region.base, region.bytes);
}

bool Arena::has_room(const End& end, size_t bytes) const {
  return end.region < regions_.size() && bytes <= regions_[end.region].bytes - end.place;
}

Arena::Region Arena::reserve(size_t bytes) {
  size_t reserved = 0;
  for (const Region& region : regions_) reserved += region.bytes;
  // A quarter of what there is: so an arena of any size has few regions, and leaves address space to others.
  const size_t generous =
      regions_.empty() ? memory_.first_reservation(capacity_) : std::max(reserved / 4, small_reservation);
  for (const size_t size : {std::max(bytes, generous), std::max(bytes, small_reservation)}) {
    try {
      return {static_cast<char*>(memory_.reserve(size)), size};
    } catch (const Shortage&) {
      // A smaller reservation may succeed.
    }
  }
  return {static_cast<char*>(memory_.reserve(bytes)), bytes};
}

void Arena::go_to_next_region(size_t bytes) {
  const End next{regions_.empty() ? 0 : end_.region + 1, 0, end_.used};
  if (!has_room(next, bytes)) {
    // Regions behind the end hold nothing that is in use.
    for (; regions_.size() > next.region; regions_.pop_back())
      memory_.release(regions_.back().base, regions_.back().bytes);
    regions_.push_back(reserve(bytes));
  }
  end_ = next;
}

Tensor Arena::make(DType dtype, Shape shape) {
  Tensor tensor{nullptr, dtype, shape};
  const size_t bytes = arena_room(tensor.bytes());
  const auto what = [&] { return "a tensor " + shape.text() + " of " + name_of(dtype); };
  if (bytes > capacity_ - end_.used) fail_out_of_memory(what(), bytes, capacity_ - end_.used, capacity_);
  try {
    if (!has_room(end_, bytes)) go_to_next_region(bytes);
    tensor.data = regions_[end_.region].base + end_.place;
    memory_.commit(regions_[end_.region].base, end_.place, end_.place + tensor.bytes());
  } catch (const Shortage& shortage) {
    fail_out_of_memory(what() + " " + shortage.place, bytes, shortage.free, shortage.total);
  }
  end_.place += bytes;
  end_.used += bytes;
  peak_ = std::max(peak_, end_.used);
  return tensor;
}

Tensor Arena::make_zeros(DType dtype, Shape shape) {
  const Tensor tensor = make(dtype, shape);
  memory_.zero(tensor.data, tensor.bytes());
  return tensor;
}

}  // namespace engine
