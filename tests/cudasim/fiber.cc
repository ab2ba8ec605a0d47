#include "tests/cudasim/fiber.h"

#include <sys/mman.h>

#include <boost/context/detail/fcontext.hpp>

#include "core/error.h"
#include "tests/cudasim/sanitizer.h"

namespace cudasim {

namespace {

using boost::context::detail::fcontext_t;
using boost::context::detail::jump_fcontext;
using boost::context::detail::make_fcontext;
using boost::context::detail::transfer_t;

constexpr size_t guard = 4096;
constexpr size_t stack_bytes = sanitized ? size_t{256} << 10 : size_t{64} << 10;

// The stack that resumes fibers.
fcontext_t main_context;
const void* main_bottom;
size_t main_bytes;
Fiber* running;

}  // namespace

struct Fiber::Switch {
  static void enter(transfer_t from) {
    main_context = from.fctx;
    finish_switch(nullptr, &main_bottom, &main_bytes);
    running->run_();
    __builtin_trap();
  }
};

Fiber::Fiber(void (*run)()) : run_(run) {
  void* const memory = mmap(nullptr, guard + stack_bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  engine::require(memory != MAP_FAILED, "no memory for the simulated device's stacks");
  memory_ = static_cast<char*>(memory);
  mprotect(memory_, guard, PROT_NONE);
  restart();
}

Fiber::~Fiber() {
  unpoison(memory_ + guard, stack_bytes);
  munmap(memory_, guard + stack_bytes);
}

void Fiber::restart() {
  unpoison(memory_ + guard, stack_bytes);
  context_ = make_fcontext(memory_ + guard + stack_bytes, stack_bytes, Switch::enter);
}

bool Fiber::overflows_at(const void* address) const { return address >= memory_ && address < memory_ + guard; }

void Fiber::resume() {
  running = this;
  void* state = nullptr;
  start_switch(&state, memory_ + guard, stack_bytes);
  const transfer_t back = jump_fcontext(context_, nullptr);
  finish_switch(state, nullptr, nullptr);
  context_ = back.fctx;
}

void Fiber::suspend() {
  Fiber& fiber = *running;
  start_switch(&fiber.sanitizer_state_, main_bottom, main_bytes);
  const transfer_t back = jump_fcontext(main_context, nullptr);
  finish_switch(fiber.sanitizer_state_, &main_bottom, &main_bytes);
  main_context = back.fctx;
}

}  // namespace cudasim
