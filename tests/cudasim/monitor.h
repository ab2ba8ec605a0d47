// One thread at a time is inside the simulated device. In a program of several ranks there are more than one: the main
// thread, one that looks after exchanges, and the one that serves other ranks (nccl.cc).
#pragma once

#include <functional>

namespace cudasim {

// A thread is inside while one of these lives on it. They may nest.
class Inside {
 public:
  Inside();
  ~Inside();
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;
};

// Leaves the device to other threads while `work` runs, or until `is_so` is true, which is asked while no thread is
// inside. The calling thread is inside before and after.
void outside(const std::function<void()>& work);
void wait_until(const std::function<bool()>& is_so);

// The thread that does the work of streams. One waits until another has done with it.
class Executor {
 public:
  Executor();
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

 private:
  const Inside inside_;
};
bool has_executor();

}  // namespace cudasim
