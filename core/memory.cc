#include "core/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <limits>

#include "core/arena.h"
#include "core/arena_room.h"
#include "core/shortage.h"

namespace engine {

const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::f32: return "f32";
    case DType::bf16: return "bf16";
    case DType::i32: return "i32";
    case DType::u8: return "u8";
  }
  return "?";
}

std::string Shape::text() const {
  std::string text = "[";
  for (int i = 0; i < rank; ++i) text += (i ? ", " : "") + std::to_string((*this)[i]);
  return text + "]";
}

namespace {

constexpr size_t huge_page = size_t{2} << 20;

std::string size_text(size_t bytes) {
  return bytes >> 20 ? std::to_string(bytes >> 20) + " MiB" : std::to_string((bytes + 1023) >> 10) + " KiB";
}

// What a container may use: of control groups version 2, and of version 1.
constexpr const char* limit_files[] = {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"};

class HostMemory final : public Memory {
 public:
  void* reserve(size_t bytes) override {
    // mmap aligns to 4 KiB: reserve a huge page more, and give back what lies outside the aligned range.
    const size_t size = rounded(bytes);
    void* raw =
        mmap(nullptr, size + huge_page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (raw == MAP_FAILED)
      fail("no address space for ", size_text(bytes), ": is it limited (ulimit -v)? A smaller model needs less");
    const uintptr_t begin = reinterpret_cast<uintptr_t>(raw);
    const uintptr_t aligned = (begin + huge_page - 1) / huge_page * huge_page;
    if (aligned > begin) munmap(raw, aligned - begin);
    if (const size_t tail = begin + huge_page - aligned) munmap(reinterpret_cast<void*>(aligned + size), tail);
    void* data = reinterpret_cast<void*>(aligned);
    madvise(data, size, MADV_HUGEPAGE);  // fewer faults and TLB misses; a kernel without it still works
    return data;
  }
  void release(void* data, size_t bytes) override { munmap(data, rounded(bytes)); }
  void copy_in(void* device, const void* host, size_t bytes) override {
    if (bytes) std::memcpy(device, host, bytes);  // empty tensors may have no address
  }
  void copy_out(void* host, const void* device, size_t bytes) override {
    if (bytes) std::memcpy(host, device, bytes);
  }
  void zero(void* device, size_t bytes) override {
    if (bytes) std::memset(device, 0, bytes);
  }
  size_t capacity() const override {
    size_t bytes = static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
    for (const char* file : limit_files) bytes = std::min(bytes, detail::memory_limit(file));
    return bytes;
  }

 private:
  static size_t rounded(size_t bytes) { return (bytes + huge_page - 1) / huge_page * huge_page; }
};

}  // namespace

size_t detail::memory_limit(const char* file) {
  size_t bytes = 0;
  // "max", where there is no limit, is no number.
  return std::ifstream(file) >> bytes && bytes > 0 ? bytes : std::numeric_limits<size_t>::max();
}

void fail_out_of_memory(const std::string& what, size_t bytes, size_t free, size_t capacity) {
  fail("out of memory: ", what, " needs ", size_text(bytes), ", ", size_text(free), " of ", size_text(capacity),
       " are free: in training lower training.micro_batch_size (1 at least), training.batch_tokens or "
       "data.block_size, or set training.recompute = true; precision = \"bf16\", shorter sequences and a smaller model "
       "need less, too");
}

Memory& host_memory() {
  static HostMemory memory;
  return memory;
}

Arena::Arena(Memory& memory, size_t capacity)
    : memory_(memory), base_(nullptr), capacity_(capacity ? capacity : memory.capacity()) {
  base_ = static_cast<char*>(memory_.reserve(capacity_));
}

Arena::~Arena() { memory_.release(base_, capacity_); }

Tensor Arena::make(DType dtype, Shape shape) {
  const Tensor tensor{base_ + used_, dtype, shape};
  const size_t bytes = arena_room(tensor.bytes());
  const auto what = [&] { return "a tensor " + shape.text() + " of " + name_of(dtype); };
  if (bytes > capacity_ - used_) fail_out_of_memory(what(), bytes, capacity_ - used_, capacity_);
  try {
    memory_.commit(base_, used_, used_ + tensor.bytes());
  } catch (const Shortage& shortage) {
    fail_out_of_memory(what() + " " + shortage.place, bytes, shortage.free, shortage.total);
  }
  used_ += bytes;
  if (used_ > peak_) peak_ = used_;
  return tensor;
}

Tensor Arena::make_zeros(DType dtype, Shape shape) {
  const Tensor tensor = make(dtype, shape);
  memory_.zero(tensor.data, tensor.bytes());
  return tensor;
}

}  // namespace engine
