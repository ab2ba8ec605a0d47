// Fibers: stacks of their own between which one thread of the host changes (Boost.Context), known to the address
// sanitizer. Only the main stack resumes fibers; a fiber suspends to it.
#pragma once

#include <cstddef>
#include <memory>

namespace cudasim {

class Fiber {
 public:
  // `run` is called on the fiber at the first resume; it must not return.
  explicit Fiber(void (*run)());
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  void resume();          // from the main stack; returns when the fiber suspends
  static void suspend();  // from a fiber
  void restart();         // forgets what the fiber was in the middle of
  bool overflows_at(const void* address) const;  // whether the address lies in the page that guards the stack's end

 private:
  struct Switch;
  void (*run_)();
  char* memory_;
  void* context_ = nullptr;
  void* sanitizer_state_ = nullptr;
};

}  // namespace cudasim
