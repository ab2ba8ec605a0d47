// Gives threads of a kernel stacks of their own, between which one thread of the host changes (Boost.Context). The
// address sanitizer is told of every change. Only the main stack resumes fibers, and a fiber suspends to it.
#pragma once

#include <cstddef>
#include <memory>

namespace cudasim {

class Fiber {
 public:
  // Calls `run` on the fiber at the first resume. It must not return.
  explicit Fiber(void (*run)());
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  void resume();          // from the main stack, until the fiber suspends
  static void suspend();  // from a fiber
  void restart();         // forgets the fiber's work
  bool overflows_at(const void* address) const;  // in the page behind the stack's end

 private:
  struct Switch;
  void (*run_)();
  char* memory_;
  void* context_ = nullptr;
  void* sanitizer_state_ = nullptr;
};

}  // namespace cudasim
