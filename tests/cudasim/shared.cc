// Shared memory of a block, and asynchronous copies into it.
//
// Every object lies between red zones. Everything is filled with NaNs when a block begins. The address sanitizer sees
// each access outside. Without it, writes outside show when the block ends.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "core/error.h"
#include "tests/cudasim/block.h"
#include "tests/cudasim/sanitizer.h"

namespace cudasim {

namespace {

using engine::detail::joined;

constexpr size_t most_bytes = size_t{227} << 10, most_static = size_t{48} << 10;
constexpr size_t red_zone = 128, alignment = 128;
constexpr size_t arena_bytes = 2 * most_bytes;
constexpr unsigned char poison_byte = 0xff;

struct Object {
  const void* type;
  size_t begin, bytes;
};
struct SharedMemory {
  unsigned char* const arena = static_cast<unsigned char*>(std::aligned_alloc(1024, arena_bytes));
  std::vector<Object> objects;  // objects of the launch, dynamic memory first
  size_t used = 0, static_bytes = 0;
};
SharedMemory& memory() {
  static SharedMemory only;
  return only;
}

void* add(const void* type, size_t bytes, size_t skew) {
  SharedMemory& m = memory();
  const size_t begin = (m.used + red_zone + alignment - 1) / alignment * alignment + skew;
  const size_t end = begin + bytes + red_zone;
  unpoison(m.arena + m.used, end - m.used);
  std::memset(m.arena + m.used, poison_byte, end - m.used);
  poison(m.arena + m.used, end - m.used);
  m.objects.push_back({type, begin, bytes});
  m.used = end;
  unpoison(m.arena + begin, bytes);
  return m.arena + begin;
}

struct Copy {
  void* to;
  const void* from;  // null for zeros
};
// Holds one thread's copies that have not landed, and how many of them belong to each committed group.
struct Copies {
  std::vector<Copy> queue;
  std::vector<size_t> groups;
  size_t uncommitted = 0;
};
std::vector<Copies> copies_of_threads;
Copies& copies() { return copies_of_threads[thread_number()]; }

}  // namespace

void begin_shared_memory(size_t dynamic_bytes) {
  SharedMemory& m = memory();
  m.objects.clear();
  m.used = m.static_bytes = 0;
  poison(m.arena, arena_bytes);
  add(nullptr, dynamic_bytes, 0);
}

void fill_shared_memory() {
  SharedMemory& m = memory();
  unpoison(m.arena, m.used);
  std::memset(m.arena, poison_byte, m.used);
  poison(m.arena, m.used);
  for (const Object& object : m.objects) unpoison(m.arena + object.begin, object.bytes);
}

std::string check_shared_memory() {
  SharedMemory& m = memory();
  if (sanitized) return "";
  const auto is_touched = [&](size_t begin, size_t end) {
    return std::any_of(m.arena + begin, m.arena + end, [](unsigned char byte) { return byte != poison_byte; });
  };
  size_t end = 0;
  bool touched = false;
  for (const Object& object : m.objects) {
    touched = touched || is_touched(end, object.begin);
    end = object.begin + object.bytes;
  }
  touched = touched || is_touched(end, m.used);
  return touched ? running_block() + " wrote outside its shared memory" : "";
}

void* static_shared(const void* type, size_t bytes) {
  SharedMemory& m = memory();
  for (const Object& object : m.objects)
    if (object.type == type) return m.arena + object.begin;
  m.static_bytes += bytes;
  if (m.static_bytes > most_static)
    fail_kernel(joined("block_shared objects of ", m.static_bytes, " bytes, more than ", most_static));
  if (m.static_bytes + m.objects[0].bytes > most_bytes)
    fail_kernel(joined("shared memory of ", m.static_bytes + m.objects[0].bytes, " bytes, more than ", most_bytes));
  const size_t skew = 16;  // 16-byte aligned and no better
  return add(type, bytes, skew);
}

void* dynamic_shared() { return memory().arena + memory().objects[0].begin; }

void check_aligned(const void* address, size_t bytes) {
  if (reinterpret_cast<uintptr_t>(address) % bytes)
    fail_kernel(joined("misaligned vector access: address ", address, " is not a multiple of ", bytes));
}

void forget_copies(size_t threads) {
  if (copies_of_threads.size() < threads) copies_of_threads.resize(threads);
  for (size_t t = 0; t < threads; ++t) {
    Copies& c = copies_of_threads[t];
    c.queue.clear();
    c.groups.clear();
    c.uncommitted = 0;
  }
}

// The destination holds NaNs from the copy's start until the wait, since it may be written at any time between.
void copy_async_16(void* shared, const void* global, bool valid) {
  check_aligned(shared, 16);
  check_aligned(global, 16);
  std::memset(shared, poison_byte, 16);
  copies().queue.push_back({shared, valid ? global : nullptr});
  ++copies().uncommitted;
}

void copy_async_commit() {
  copies().groups.push_back(copies().uncommitted);
  copies().uncommitted = 0;
}

void copy_async_wait(int pending) {
  Copies& c = copies();
  const size_t keep = std::min(static_cast<size_t>(pending), c.groups.size());
  const auto end = c.groups.end() - static_cast<std::ptrdiff_t>(keep);
  size_t landing = 0;
  for (auto group = c.groups.begin(); group != end; ++group) landing += *group;
  for (size_t i = 0; i < landing; ++i) {
    if (c.queue[i].from)
      std::memcpy(c.queue[i].to, c.queue[i].from, 16);
    else
      std::memset(c.queue[i].to, 0, 16);
  }
  c.queue.erase(c.queue.begin(), c.queue.begin() + static_cast<std::ptrdiff_t>(landing));
  c.groups.erase(c.groups.begin(), end);
}

}  // namespace cudasim
