// Runs a block of the simulated device. Every CUDA thread is a fiber on one thread of the host. It runs until it meets
// others (a barrier, an operation of the warp) or ends, and then the next in order runs. Shared memory and its
// surroundings are filled with NaNs (bytes 0xff) when a block begins. A forbidden act of a kernel ends it with an error
// that names kernel, block and thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include <cuda_runtime.h>

namespace cudasim {

// Chooses among the threads (and blocks) that could run. Results must not depend on it.
enum class Order { forward, reverse, random };
void set_order(Order order, uint64_t seed = 1);
// Takes the order from the variable CUDASIM_ORDER. Without it the order is reverse with 2 threads of the host, random
// with 3, and forward with any other number, so that tests at 1, 2 and 3 threads see all three.
void unset_order();

struct Launch {
  const void* kernel;
  dim3 grid, block;
  size_t shared;  // bytes of dynamic shared memory
  std::function<void()> thread;
};
// Runs all blocks. Returns what the kernel did wrong, empty if nothing.
std::string run_grid(const Launch& launch);
bool is_running();
// Returns whether the address lies behind the end of the running thread's own stack. Wild addresses may hit another's.
bool stack_overflowed_at(const void* address);
// Counts, since the program began, the extra turns that ldmatrix took because rows of a phase lay in the same banks.
uint64_t bank_conflicts();
// Return the name of the running kernel, its block, and its thread, for messages.
std::string running_block();
std::string running_thread();

// --- for kernels, by tests/cudasim/intrinsics.h ----------------------------------------------------------------------
[[noreturn]] void fail_kernel(const std::string& what);
int lane();
uint64_t shuffle(const char* operation, uint64_t value, int source, unsigned mask);
unsigned ballot(bool predicate, unsigned mask);
unsigned match_any(unsigned value, unsigned mask);
void sync_warp(unsigned mask);
bool sync_block(const char* operation, bool predicate);
void* static_shared(const void* type, size_t bytes);
void* dynamic_shared();
void copy_async_16(void* shared, const void* global, bool valid);
void copy_async_commit();
void copy_async_wait(int pending);
void load_matrix(uint32_t (&fragment)[4], const void* row, bool transposed);
void multiply_add(float (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);
void check_aligned(const void* address, size_t bytes);

// --- between the simulator's files -----------------------------------------------------------------------------------
// Waits until every lane of `mask` has called with the same operation and mask. The last one runs `meet` over all
// lanes' arguments (null for lanes outside the mask).
void meet_warp(const char* operation, unsigned mask, void* argument, void (*meet)(void* const (&arguments)[32]));
void begin_shared_memory(size_t dynamic_bytes);  // when a launch begins
void fill_shared_memory();                       // when a block begins
std::string check_shared_memory();               // when a block has ended: writes outside
void forget_copies(size_t threads);              // when a block begins
size_t thread_number();                          // number in the block

}  // namespace cudasim
