#include "core/memory.h"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

#include "core/arena.h"
#include "core/shortage.h"
#include "tests/program.h"
#include "tests/skip.h"

namespace engine::test::test_memory {

namespace {

// Scarce address space. Reservations of more than `largest` bytes fail, and of more than `total` together.
class ScarceMemory final : public Memory {
 public:
  ScarceMemory(size_t largest, size_t total) : largest_(largest), free_(total), total_(total) {}
  void* reserve(size_t bytes) override {
    if (bytes > largest_ || bytes > free_) throw Shortage("in a test", free_, total_);
    free_ -= bytes;
    sizes.push_back(bytes);
    return std::aligned_alloc(64, (bytes + 63) / 64 * 64);  // it needs a multiple of the alignment
  }
  void release(void* data, size_t bytes) override {
    free_ += bytes;
    std::free(data);
  }
  void copy_in(void* device, const void* host, size_t bytes) override { std::memcpy(device, host, bytes); }
  void copy_out(void* host, const void* device, size_t bytes) override { std::memcpy(host, device, bytes); }
  void zero(void* device, size_t bytes) override { std::memset(device, 0, bytes); }
  size_t capacity() const override { return size_t{1} << 40; }
  size_t free() const { return free_; }

  std::vector<size_t> sizes;  // sizes of all reservations

 private:
  size_t largest_, free_, total_;
};

constexpr size_t MiB = size_t{1} << 20;

}  // namespace

TEST_CASE("memory: this process may use some of the machine's memory") {
  const size_t capacity = host_memory().capacity();
  CHECK(capacity > 0);
  CHECK(capacity <= static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE)));
}

TEST_CASE("memory: an arena that is full says what was asked for and what there is") {
  Arena arena(host_memory(), 4 * MiB);
  const ArenaScope scope(arena);
  CHECK(arena.make(DType::f32, {(1 << 19) - 1}).bytes() == 2 * MiB - 4);
  CHECK_THROWS_WITH_AS(
      arena.make(DType::f32, {3, 1 << 18}),
      doctest::Contains("a tensor [3, 262144] of f32 needs 3 MiB, 2 MiB of 4 MiB are free: in training lower"), Error);
}

TEST_CASE("memory: an arena in scarce address space grows by regions, which later steps find as they were") {
  ScarceMemory memory(300 * MiB, 1000 * MiB);
  {
    Arena arena(memory);
    std::vector<void*> first;
    for (int step = 0; step < 3; ++step) {
      const ArenaScope scope(arena);
      std::vector<void*> addresses;
      std::vector<Tensor> tensors;
      for (const int64_t mib : {1, 60, 60, 100, 30, 30, 3}) {
        tensors.push_back(arena.make(DType::u8, {mib << 20}));
        addresses.push_back(tensors.back().data);
        std::memset(tensors.back().data, static_cast<int>(tensors.size()), tensors.back().bytes());
      }
      for (size_t i = 0; i < tensors.size(); ++i) {  // no two of them overlap
        const auto* const bytes = static_cast<const unsigned char*>(tensors[i].data);
        CHECK(bytes[0] == i + 1);
        CHECK(bytes[tensors[i].bytes() - 1] == i + 1);
      }
      if (first.empty()) first = addresses;
      CHECK(addresses == first);
      CHECK(arena.used() == 284 * MiB + 7 * 64);
    }
    CHECK(arena.used() == 0);
    CHECK(arena.peak() == 284 * MiB + 7 * 64);
    // The first step made all regions, of at least 64 MiB or as large as a tensor needs.
    CHECK(memory.sizes == std::vector<size_t>{64 * MiB, 64 * MiB, 100 * MiB + 64, 64 * MiB});
    // A tensor that no region behind the end has room for replaces them.
    const ArenaScope scope(arena);
    arena.make(DType::u8, {int64_t{50} << 20});
    arena.make(DType::u8, {int64_t{250} << 20});
    CHECK(memory.free() == 1000 * MiB - 64 * MiB - (250 * MiB + 64));
    CHECK_THROWS_WITH_AS(
        arena.make(DType::u8, {int64_t{700} << 20}),
        doctest::Contains("a tensor [734003200] of u8 in a test needs 700 MiB, 685 MiB of 1000 MiB are free"), Error);
    CHECK(arena.make(DType::u8, {1}).data);  // the arena is as it was
  }
  CHECK(memory.free() == 1000 * MiB);
}

TEST_CASE("memory: programs run in limited address space, and say where it is too little") {
  const Program program;
  const std::string config = program.write(
      "task.cfg", small_scratchpad + "[training]\nbatch_size = 4\nmax_steps = 2\neval_every = 0\n");
  const auto train = [&](const std::string& limit, const std::string& more) {
    return program.shell("ulimit " + limit + "; exec " + program_path() + " train " + config + " --output_dir " +
                         program.file("runs") + " --resume false " + more);
  };
  if (program.shell("ulimit -v 1000000; exec " + program_path() + " --version").error.find("AddressSanitizer") !=
      std::string::npos)
    SKIP_TEST("the address sanitizer itself needs more address space");
  for (const char* const limit : {"-v 1000000", "-v 4000000", "-v 30000000", "-d 1000000"}) {
    CAPTURE(limit);
    const Ended ended = train(limit, "");
    CAPTURE(ended.error);
    CHECK(ended.code == 0);
  }
  const Ended ended = train("-v 1000000", "--model.hidden_size 4096 --model.num_heads 32 --model.num_layers 4");
  CAPTURE(ended.error);
  CHECK(ended.code == 1);
  CHECK(ended.error.find("out of memory") != std::string::npos);
}

}  // namespace engine::test::test_memory
