// Runs the threads of a block, decides which one runs next, and says what is wrong when none can go on.
#include "tests/cudasim/block.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <vector>

#include "core/error.h"
#include "core/parallel.h"
#include "tests/cudasim/fiber.h"
#include "tests/cudasim/symbols.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace cudasim {

namespace {

using engine::detail::joined;

constexpr size_t most_threads = 1024, nobody = most_threads;

struct Thread {
  Fiber* fiber = nullptr;           // null until it begins
  const char* waits_at = nullptr;   // barrier or operation where it waits
  unsigned mask = 0;                // mask of the warp's operation, 0 at a block's barrier
  bool has_ended = false;
};

// Holds lanes that wait at an operation of their warp for the others in their mask.
struct Group {
  const char* operation;
  unsigned mask, arrived;
  void* arguments[32];
};

struct Scheduler {
  const Launch* launch = nullptr;  // running launch
  std::string error;
  Thread threads[most_threads];
  std::vector<Group> groups[most_threads / 32];  // groups of each warp
  uint64_t ready[most_threads / 64];
  size_t count = 0, left = 0, current = 0, following = nobody;
  size_t at_barrier = 0;  // threads that wait there
  const char* barrier_operation = nullptr;
  bool barrier_or = false, barrier_result = false;
  Order order = Order::forward;
  uint64_t random_state = 1;
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<Fiber*> idle;
};
Scheduler s;

bool order_is_set = false;

uint64_t random_bits() {  // xorshift64
  s.random_state ^= s.random_state << 13;
  s.random_state ^= s.random_state >> 7;
  return s.random_state ^= s.random_state << 17;
}

// Gives the tests that run with 1, 2 and 3 threads the three orders here.
Order order_of_threads() {
  const int threads = engine::thread_count();
  return threads == 2 ? Order::reverse : threads == 3 ? Order::random : Order::forward;
}

void choose_order() {
  if (order_is_set) return;
  const char* const name = std::getenv("CUDASIM_ORDER");
  if (!name) {
    s.order = order_of_threads();
    return;
  }
  if (!std::strcmp(name, "forward")) return set_order(Order::forward);
  if (!std::strcmp(name, "reverse")) return set_order(Order::reverse);
  if (!std::strcmp(name, "random")) return set_order(Order::random);
  engine::fail("CUDASIM_ORDER is ", name, ": forward, reverse or random");
}

std::string text_of(const uint3& index) { return joined("(", index.x, ", ", index.y, ", ", index.z, ")"); }

uint3 index_of(size_t thread) {
  const dim3 block = s.launch->block;
  const auto t = static_cast<unsigned>(thread);
  return {t % block.x, t / block.x % block.y, t / block.x / block.y};
}

void set_ready(size_t thread) { s.ready[thread / 64] |= uint64_t{1} << (thread % 64); }

// Takes the next of the threads that can go on.
size_t pick() {
  const size_t words = (s.count + 63) / 64;
  const auto take = [](size_t word, uint64_t bit) {
    s.ready[word] &= ~bit;
    return word * 64 + static_cast<size_t>(std::countr_zero(bit));
  };
  if (s.order == Order::forward) {
    for (size_t word = 0; word < words; ++word)
      if (const uint64_t bits = s.ready[word]) return take(word, bits & -bits);
  } else if (s.order == Order::reverse) {
    for (size_t word = words; word-- > 0;)
      if (const uint64_t bits = s.ready[word]) return take(word, std::bit_floor(bits));
  } else {
    const size_t first = random_bits() % words;
    for (size_t i = 0; i < words; ++i) {
      const size_t word = (first + i) % words;
      const uint64_t bits = s.ready[word];
      if (!bits) continue;
      const int shift = static_cast<int>(random_bits() % 64);
      const uint64_t rotated = std::rotr(bits, shift);
      return take(word, std::rotl(rotated & -rotated, shift));
    }
  }
  return nobody;
}

// Suspends the calling thread's fiber until others have set the thread ready.
void wait_for_others() {
  const size_t self = s.current;
  s.following = pick();
  if (s.following != self) Fiber::suspend();
}

// Runs threads from begin to end, one after another, for the whole life of a fiber.
void run_threads() {
  for (;;) {
    s.launch->thread();
    s.threads[s.current].has_ended = true;
    --s.left;
    s.following = pick();
    if (s.following != nobody && !s.threads[s.following].fiber) {
      s.threads[s.following].fiber = s.threads[s.current].fiber;
      s.current = s.following;
      threadIdx = index_of(s.current);
      continue;
    }
    s.idle.push_back(s.threads[s.current].fiber);
    Fiber::suspend();
  }
}

// Says why no thread can go on although some have not ended.
std::string describe_deadlock() {
  const Thread* waiting = std::find_if(s.threads, s.threads + s.count, [](const Thread& t) { return !t.has_ended; });
  const auto first = static_cast<size_t>(waiting - s.threads);
  const size_t warp = first / 32 * 32;
  for (size_t t = 0; t < s.count; ++t) {
    const Thread& other = s.threads[t];
    const bool is_wanted = !waiting->mask || (t / 32 * 32 == warp && (waiting->mask >> (t % 32) & 1));
    if (!is_wanted || t == first) continue;
    if (!other.has_ended && !std::strcmp(other.waits_at, waiting->waits_at) && other.mask == waiting->mask) continue;
    s.current = first;
    threadIdx = index_of(first);
    return joined(running_thread(), " waits at ", waiting->waits_at, " for thread ", text_of(index_of(t)), ", which ",
                  other.has_ended ? std::string("has ended") : joined("waits at ", other.waits_at));
  }
  return "threads wait for ever";
}

void run_block() {
  fill_shared_memory();
  forget_copies(s.count);
  std::fill_n(s.threads, s.count, Thread{});
  std::fill(std::begin(s.ready), std::end(s.ready), 0);
  for (size_t warp = 0; warp < (s.count + 31) / 32; ++warp) s.groups[warp].clear();
  for (size_t t = 0; t < s.count; ++t) set_ready(t);
  s.left = s.count;
  s.at_barrier = 0;
  s.barrier_or = false;
  for (size_t next = pick(); next != nobody; next = s.following) {
    Thread& thread = s.threads[next];
    if (!thread.fiber) {
      if (s.idle.empty()) s.idle.push_back(s.fibers.emplace_back(std::make_unique<Fiber>(run_threads)).get());
      thread.fiber = s.idle.back();
      s.idle.pop_back();
    }
    s.current = next;
    threadIdx = index_of(next);
    thread.fiber->resume();
    if (!s.error.empty()) return;
  }
  if (s.left) s.error = describe_deadlock();
  if (s.error.empty()) s.error = check_shared_memory();
}

std::vector<unsigned> order_of_blocks(size_t count) {
  std::vector<unsigned> blocks(count);
  std::iota(blocks.begin(), blocks.end(), 0u);
  if (s.order == Order::reverse) std::reverse(blocks.begin(), blocks.end());
  if (s.order == Order::random)
    for (size_t i = count; i > 1; --i) std::swap(blocks[i - 1], blocks[random_bits() % i]);
  return blocks;
}

}  // namespace

void set_order(Order order, uint64_t seed) {
  s.order = order;
  s.random_state = seed * 0x9E3779B97F4A7C15u | 1;
  order_is_set = true;
}

void unset_order() { order_is_set = false; }

std::string run_grid(const Launch& launch) {
  choose_order();
  s.launch = &launch;
  s.error.clear();
  const dim3 grid = launch.grid;
  s.count = size_t{launch.block.x} * launch.block.y * launch.block.z;
  blockDim = launch.block;
  gridDim = grid;
  begin_shared_memory(launch.shared);
  for (const unsigned b : order_of_blocks(size_t{grid.x} * grid.y * grid.z)) {
    blockIdx = {b % grid.x, b / grid.x % grid.y, b / grid.x / grid.y};
    run_block();
    if (s.error.empty()) continue;
    // A failed kernel's threads are forgotten in the middle of their work.
    s.idle.clear();
    for (const auto& fiber : s.fibers) {
      fiber->restart();
      s.idle.push_back(fiber.get());
    }
    break;
  }
  s.launch = nullptr;
  return s.error;
}

bool is_running() { return s.launch != nullptr; }

std::string running_block() {
  return joined("kernel ", symbol_name(s.launch->kernel), ", block ", text_of(blockIdx));
}
std::string running_thread() { return joined(running_block(), ", thread ", text_of(threadIdx)); }

bool stack_overflowed_at(const void* address) { return s.threads[s.current].fiber->overflows_at(address); }

void fail_kernel(const std::string& what) {
  s.error = running_thread() + ": " + what;
  Fiber::suspend();
  __builtin_unreachable();
}

size_t thread_number() { return s.current; }
int lane() { return static_cast<int>(s.current % 32); }

bool sync_block(const char* operation, bool predicate) {
  Thread& self = s.threads[s.current];
  self.waits_at = operation;
  self.mask = 0;
  if (s.at_barrier == 0) s.barrier_operation = operation;
  if (std::strcmp(s.barrier_operation, operation))
    fail_kernel(joined(operation, " while other threads of the block wait at ", s.barrier_operation));
  s.barrier_or = s.barrier_or || predicate;
  if (++s.at_barrier == s.count) {
    s.at_barrier = 0;
    s.barrier_result = s.barrier_or;
    s.barrier_or = false;
    for (size_t t = 0; t < s.count; ++t) {
      s.threads[t].waits_at = nullptr;
      set_ready(t);
    }
  }
  wait_for_others();
  return s.barrier_result;
}

void meet_warp(const char* operation, unsigned mask, void* argument, void (*meet)(void* const (&arguments)[32])) {
  const size_t warp = s.current / 32 * 32, self = s.current % 32;
  if (!(mask >> self & 1))
    fail_kernel(joined(operation, ": lane ", self, " is not in its own mask 0x", std::hex, mask));
  for (unsigned rest = mask; rest; rest &= rest - 1) {
    const auto l = static_cast<size_t>(std::countr_zero(rest));
    if (warp + l >= s.count) fail_kernel(joined(operation, ": the mask names lane ", l, ", which the warp has not"));
    if (s.threads[warp + l].has_ended) fail_kernel(joined(operation, ": the mask names lane ", l, ", which has ended"));
  }
  std::vector<Group>& groups = s.groups[warp / 32];
  auto group = std::find_if(groups.begin(), groups.end(), [&](const Group& g) {
    return g.mask == mask && (g.operation == operation || !std::strcmp(g.operation, operation));
  });
  if (group == groups.end()) group = groups.insert(groups.end(), Group{operation, mask, 0, {}});
  group->arrived |= 1u << self;
  group->arguments[self] = argument;
  if (group->arrived == mask) {
    meet(group->arguments);
    for (unsigned rest = mask; rest; rest &= rest - 1) set_ready(warp + static_cast<size_t>(std::countr_zero(rest)));
    groups.erase(group);
  } else {
    s.threads[s.current].waits_at = operation;
    s.threads[s.current].mask = mask;
  }
  wait_for_others();
  s.threads[s.current].waits_at = nullptr;
}

}  // namespace cudasim
