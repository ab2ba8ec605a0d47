#include "core/memory.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <limits>
#include <utility>
#include <vector>

#include "core/control_groups.h"
#include "core/shortage.h"
#include "core/tensor.h"

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

// The address space that this process may have. Without a limit, total is the largest number.
struct AddressSpace {
  size_t free = std::numeric_limits<size_t>::max(), total = free;
};

// Returns the tighter one of ulimit -v, which counts all address space, and ulimit -d, which counts writable pages.
AddressSpace address_space() {
  size_t in_use[6] = {};  // pages: size, resident, shared, text, 0, data
  std::ifstream file("/proc/self/statm");
  for (size_t& pages : in_use) file >> pages;
  AddressSpace space;
  for (const auto& [resource, pages] : {std::pair{RLIMIT_AS, in_use[0]}, {RLIMIT_DATA, in_use[5]}}) {
    rlimit limit{};
    if (getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) continue;
    const size_t used = pages * static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t free = limit.rlim_cur - std::min<size_t>(limit.rlim_cur, used);
    if (free < space.free) space = {free, limit.rlim_cur};
  }
  return space;
}

bool is_limited(const AddressSpace& space) { return space.total != AddressSpace{}.total; }

// Returns whether the kernel counts reservations as memory in use (vm.overcommit_memory = 2).
bool reservations_are_counted() {
  int mode = 0;
  return std::ifstream("/proc/sys/vm/overcommit_memory") >> mode && mode == 2;
}

class HostMemory final : public Memory {
 public:
  void* reserve(size_t bytes) override {
    // mmap aligns to 4 KiB. So this reserves a huge page more, and gives back what lies outside the aligned range.
    const size_t size = rounded(bytes);
    void* raw =
        mmap(nullptr, size + huge_page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (raw == MAP_FAILED) fail_to_reserve();
    const uintptr_t begin = reinterpret_cast<uintptr_t>(raw);
    const uintptr_t aligned = (begin + huge_page - 1) / huge_page * huge_page;
    if (aligned > begin) munmap(raw, aligned - begin);
    if (const size_t tail = begin + huge_page - aligned) munmap(reinterpret_cast<void*>(aligned + size), tail);
    void* data = reinterpret_cast<void*>(aligned);
    madvise(data, size, MADV_HUGEPAGE);  // fewer faults and TLB misses, where the kernel has it
    return data;
  }
  void release(void* data, size_t bytes) override { munmap(data, rounded(bytes)); }
  bool give_back(void* data, size_t bytes) override {
    const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE)), begin = reinterpret_cast<uintptr_t>(data);
    const uintptr_t first = (begin + page - 1) / page * page, last = (begin + bytes) / page * page;
    return last <= first || madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED) == 0;
  }
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
    const size_t bytes = static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
    return std::min({bytes, ControlGroups().memory(), address_space().total});
  }
  size_t first_reservation(size_t capacity) const override {
    const bool is_free = !is_limited(address_space()) && !reservations_are_counted();
    return is_free ? capacity : std::min(capacity, small_reservation);
  }

 private:
  [[noreturn]] void fail_to_reserve() const {
    const AddressSpace space = address_space();
    if (is_limited(space)) throw Shortage("in the address space that ulimit -v or -d limits", space.free, space.total);
    throw Shortage("in address space", 0, capacity());
  }
  static size_t rounded(size_t bytes) { return (bytes + huge_page - 1) / huge_page * huge_page; }
};

// Copies at once, where a copy waits for the work anyway.
class WaitingReadback final : public Readback {
 public:
  WaitingReadback(Memory& memory, size_t bytes) : memory_(memory), results_(bytes) {}
  void start(std::initializer_list<Piece> pieces) override {
    char* next = results_.data();
    for (const Piece& piece : pieces) {
      memory_.copy_out(next, piece.data, piece.bytes);
      next += piece.bytes;
    }
  }
  const char* wait() override { return results_.data(); }

 private:
  Memory& memory_;
  std::vector<char> results_;
};

}  // namespace

std::unique_ptr<Readback> Memory::make_readback(size_t bytes) {
  return std::make_unique<WaitingReadback>(*this, bytes);
}

std::string memory_text(size_t bytes) {
  return bytes >> 20 ? std::to_string(bytes >> 20) + " MiB" : std::to_string((bytes + 1023) >> 10) + " KiB";
}

void fail_out_of_memory(const std::string& what, size_t bytes, size_t free, size_t capacity) {
  fail("out of memory: ", what, " needs ", memory_text(bytes), ", ", memory_text(free), " of ", memory_text(capacity),
       " are free: in training lower training.micro_batch_size (1 at least), training.batch_tokens or "
       "data.block_size, or set training.recompute = true; precision = \"bf16\", shorter sequences and a smaller model "
       "need less, too");
}

Memory& host_memory() {
  static HostMemory memory;
  return memory;
}

}  // namespace engine
